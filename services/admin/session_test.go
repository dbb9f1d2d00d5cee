package admin

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// storedSession makes a session of a user beside the API.
func (a *api) storedSession(tenantID, user, name string) {
	a.t.Helper()
	tn, err := a.store.FindTenant(a.t.Context(), tenantID)
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := a.store.FindAccount(a.t.Context(), tn.ID, access.UserKind, user)
	if err != nil {
		a.t.Fatal(err)
	}
	m := meta.Session{SessionOwner: meta.SessionOwner{Tenant: tn.ID, Account: u.ID, Actor: u.Principal().Name}, Name: name, Hash: sha256.Sum256([]byte(newSecret(sessionPrefix)))}
	if err := a.store.CreateSession(a.t.Context(), meta.Cause{Op: uuid.New(), Actor: "operator"}, m, u.Epoch); err != nil {
		a.t.Fatal(err)
	}
}

// listener serves the API behind what a listener of this scheme has.
func (a *api) listener(scheme string) {
	a.t.Helper()
	a.serveREST(listenerOf(scheme).Wrap(a.server))
}

// listenerOf is what a listener of this scheme has before its handler.
func listenerOf(scheme string) web.Middleware {
	return web.Middleware{
		Listener: "admin", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""),
		Metrics: web.NewMetrics(prometheus.NewRegistry()), Scheme: scheme,
	}
}

// withAlice makes a user of acme with a password.
func (a *api) withAlice() {
	a.t.Helper()
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/users?user_id=alice", `{"role": "ADMIN", "password": "correct horse"}`)
}

const (
	asAlice     = `{"tenant": "acme", "login": "alice", "password": "correct horse"}`
	asOperator  = `{"token": "` + operatorToken + `"}`
	ofAcme      = "/v1/tenants/acme/users"
	aliceItself = ofAcme + "/alice"
)

// with sends a request with the cookie of a session, as a page of the API's own origin does.
func (a *api) with(cookie string, want int, method, path, body string, headers ...string) string {
	a.t.Helper()
	resp, text := a.send("", method, path, body, append(headers, "Cookie: "+cookie)...)
	if resp.StatusCode != want {
		a.t.Errorf("%s %s: %s, want %d: %s", method, path, resp.Status, want, text)
	}
	return string(text)
}

func TestU102_TheCookieIsForThisHostAndNoScript(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	for scheme, want := range map[string]http.Cookie{
		"http":  {Name: "berth-session"},
		"https": {Name: "__Host-berth-session", Secure: true},
	} {
		a.listener(scheme)
		for _, body := range []string{asAlice, asOperator} {
			resp, text := a.send("", "POST", "/v1/sessions", body, "Origin: "+scheme+strings.TrimPrefix(a.url, "http"), "Sec-Fetch-Site: same-origin")
			if resp.StatusCode != 200 || len(resp.Cookies()) != 1 || resp.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%s: %s %s", scheme, resp.Status, text)
			}
			c := resp.Cookies()[0]
			if c.Name != want.Name || c.Secure != want.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 7*24*3600 {
				t.Errorf("%s: %+v", scheme, c)
			}
			if strings.Contains(string(text), c.Value) {
				t.Errorf("the secret is in the body: %s", text)
			}
			a.with(c.Name+"="+c.Value, 200, "GET", "/v1/tenants/acme", "")
			a.with("other="+c.Value, 401, "GET", "/v1/tenants/acme", "")
			a.with(loopbackCookie+"="+c.Value+"; "+loopbackCookie+"="+c.Value, 401, "GET", "/v1/tenants/acme", "")
		}
	}
}

// TestU102_NoSessionInTheClear logs in by plain HTTP as other machines do, and by a name that
// the listener answers at and that is not one of this machine.
func TestU102_NoSessionInTheClear(t *testing.T) {
	const byName = "registry.example"
	a := newAPI(t, func(_ *Config, o *Options) { o.Hosts = web.NewHosts(byName, nil) })
	a.withAlice()
	_, secret, _ := strings.Cut(a.session(asAlice), "=")
	handler := listenerOf("http").Wrap(a.server)
	for from, host := range map[string]string{"192.0.2.1:4711": "127.0.0.1:5080", "127.0.0.1:4711": byName} {
		a.serveREST(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr, r.Host = from, host
			handler.ServeHTTP(w, r)
		}))
		resp, text := a.send("", "POST", "/v1/sessions", asAlice)
		if resp.StatusCode != 403 || len(resp.Cookies()) != 0 || !strings.Contains(string(text), "sessions need TLS") {
			t.Errorf("%s at %s: %s %s", from, host, resp.Status, text)
		}
		for _, name := range []string{loopbackCookie, secureCookie} {
			a.with(name+"="+secret, 403, "GET", "/v1/sessions", "")
		}
	}
}

func TestU105_PagesOfOtherOriginsDoNothingWithACookie(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	a.listener("http")
	cookie := a.session(asOperator)
	for _, foreign := range [][]string{
		{"Origin: https://evil.example"},
		{"Origin: null"},
		{"Origin: http://127.0.0.1:1"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"},
	} {
		for _, c := range [][2]string{{"POST", "/v1/tenants?tenant_id=evil"}, {"DELETE", "/v1/tenants/acme?force=true"}, {"PATCH", aliceItself}, {"DELETE", "/v1/sessions"}, {"POST", "/v1/sessions"}} {
			a.with(cookie, 403, c[0], c[1], "{}", foreign...)
		}
	}
	a.with(cookie, 200, "GET", "/v1/tenants/acme", "", "Sec-Fetch-Site: same-origin")
	a.with(cookie, 200, "POST", "/v1/tenants?tenant_id=good", "{}", "Origin: "+a.url, "Sec-Fetch-Site: same-origin")
	a.with(cookie, 404, "GET", "/v1/tenants/evil", "")
}

// TestU105_ASecondWallRefusesThemToo, where the first one, web.Operators, is not there.
func TestU105_ASecondWallRefusesThemToo(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	cookie := a.session(asAlice)
	g := gate{service: a.service}
	here := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5080})
	for site, refused := range map[string]bool{"same-origin": false, "cross-site": true, "same-site": true} {
		r := httptest.NewRequestWithContext(here, "POST", "http://localhost/v1/sessions", strings.NewReader(asAlice))
		r.RemoteAddr = "127.0.0.1:4711"
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Sec-Fetch-Site", site)
		_, byCookie := g.callerOfRequest(r)
		_, _, login := g.makeSession(httptest.NewRecorder(), r)
		for what, err := range map[string]error{"a call": byCookie, "a login": login} {
			if refused && fault.KindOf(err) != fault.Denied || !refused && err != nil {
				t.Errorf("%s from %s: %v", what, site, err)
			}
		}
	}
}
