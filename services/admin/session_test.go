package admin

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/token"
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
	a.serveREST(web.Middleware{
		Listener: "admin", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""),
		Metrics: web.NewMetrics(prometheus.NewRegistry()), Scheme: scheme,
	}.Wrap(a.server))
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

// TestU102_NoSessionInTheClear logs in by plain HTTP as other machines do, and by another name.
func TestU102_NoSessionInTheClear(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	for from, host := range map[string]string{"192.0.2.1:4711": "127.0.0.1:5080", "127.0.0.1:4711": "registry.example"} {
		handler := web.Middleware{
			Listener: "admin", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""),
			Metrics: web.NewMetrics(prometheus.NewRegistry()), Scheme: "http",
		}.Wrap(a.server)
		a.serveREST(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr, r.Host = from, host
			handler.ServeHTTP(w, r)
		}))
		resp, text := a.send("", "POST", "/v1/sessions", asAlice)
		if resp.StatusCode/100 != 4 || len(resp.Cookies()) != 0 || host == "127.0.0.1:5080" && !strings.Contains(string(text), "TLS") {
			t.Errorf("%s at %s: %s %s", from, host, resp.Status, text)
		}
		for _, name := range []string{loopbackCookie, secureCookie} {
			if resp, _ := a.send("", "GET", "/v1/tenants", "", "Cookie: "+name+"="+newSecret(sessionPrefix)); resp.StatusCode/100 != 4 {
				t.Errorf("%s at %s: %s", from, host, resp.Status)
			}
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

// TestU103_SessionsAreListedAndEndedByTheirOwners and by admins of their tenants.
func TestU103_SessionsAreListedAndEndedByTheirOwners(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	bob := a.callAs(operatorToken, 200, "POST", ofAcme+"?user_id=bob", `{"role": "MEMBER", "password": "correct horse"}`)
	alice, other, operator := a.session(asAlice), a.session(asAlice), a.session(asOperator)
	ofBob := a.session(strings.ReplaceAll(asAlice, "alice", "bob"))
	if bob["name"] != "tenants/acme/users/bob" || alice == other {
		t.Fatal(bob, alice)
	}
	names := func(cookie string) []string {
		var got []string
		for _, part := range strings.Split(a.with(cookie, 200, "GET", "/v1/sessions", ""), `"sessions/`)[1:] {
			name, _, _ := strings.Cut(part, `"`)
			got = append(got, name)
		}
		return got
	}
	if n := len(names(alice)); n != 2 {
		t.Errorf("alice has %d", n)
	}
	if text := a.with(alice, 200, "GET", "/v1/sessions", ""); strings.Count(strings.ReplaceAll(text, " ", ""), `"current":true`) != 1 || strings.Contains(text, sessionPrefix) {
		t.Errorf("%s", text)
	}
	a.with(alice, 404, "DELETE", "/v1/sessions/"+names(ofBob)[0], "")
	a.with(alice, 200, "DELETE", ofAcme+"/bob/sessions/"+names(ofBob)[0], "") // as an admin
	a.with(ofBob, 401, "GET", "/v1/sessions", "")
	resp, text := a.send("", "DELETE", "/v1/sessions/current", "", "Cookie: "+alice)
	if c := resp.Cookies(); resp.StatusCode != 200 || len(c) != 1 || c[0].MaxAge >= 0 || c[0].Value != "" {
		t.Errorf("%s %+v: %s", resp.Status, c, text)
	}
	a.with(alice, 401, "GET", "/v1/sessions", "")
	third := a.session(asAlice)
	left := slices.DeleteFunc(names(other), func(name string) bool { return !slices.Contains(names(third), name) })
	a.with(other, 200, "DELETE", "/v1/sessions/"+left[0], "")
	fourth := a.session(asAlice)
	a.with(fourth, 200, "DELETE", "/v1/sessions", "") // logout everywhere
	for _, cookie := range []string{other, third, fourth} {
		a.with(cookie, 401, "GET", "/v1/sessions", "")
	}
	a.with(operator, 200, "GET", "/v1/tenants", "")
	a.call(400, "DELETE", "/v1/sessions/current", "") // a token has none
	for call, want := range map[string]int{"DELETE /v1/sessions/a/b": 404, "DELETE /v1/sessions/": 404, "PUT /v1/sessions": 405, "GET /v1/sessions/a": 405} {
		method, path, _ := strings.Cut(call, " ")
		if resp, _ := a.send(operatorToken, method, path, ""); resp.StatusCode != want {
			t.Errorf("%s: %s", call, resp.Status)
		}
	}
}

// TestU104_ASessionHasTheRightsOfThisMoment, by what is changed of its account.
func TestU104_ASessionHasTheRightsOfThisMoment(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	secret := a.call(200, "POST", aliceItself+"/accessTokens", "")
	byToken := a.session(fmt.Sprintf(`{"token": %q}`, secret["secret"]))
	own := a.session(asAlice)
	a.with(own, 200, "GET", ofAcme, "")
	a.call(200, "PATCH", aliceItself, `{"role": "MEMBER"}`)
	a.with(own, 403, "GET", ofAcme, "")
	a.call(200, "PATCH", aliceItself, `{"role": "ADMIN"}`)
	a.with(byToken, 200, "GET", ofAcme, "")
	a.call(200, "DELETE", "/v1/"+secret["name"].(string), "")
	a.with(byToken, 401, "GET", ofAcme, "")
	other := a.session(asAlice)
	a.with(own, 200, "PATCH", aliceItself, `{"password": "another horse"}`) // its own: it stays
	a.with(own, 200, "GET", ofAcme, "")
	a.with(other, 401, "GET", ofAcme, "")
	a.call(200, "PATCH", aliceItself, `{"password": "correct horse"}`)
	a.with(own, 401, "GET", ofAcme, "")
	for _, c := range [][3]string{{"PATCH", aliceItself, `{"disabled": true}`}, {"POST", aliceItself + ":revokeTokens", "{}"}, {"DELETE", aliceItself, ""}} {
		cookie := a.session(asAlice)
		a.with(cookie, 200, "GET", ofAcme, "")
		a.call(200, c[0], c[1], c[2])
		a.with(cookie, 401, "GET", ofAcme, "")
		if c[0] == "PATCH" {
			a.call(200, "PATCH", aliceItself, `{"disabled": false}`)
		}
	}
	nameless := a.session(asOperator)
	a.with(nameless, 200, "GET", "/v1/tenants", "")
	b := serveAPI(t, a.store, func(c *Config, _ *Options) { c.OperatorToken = "another " + operatorToken })
	b.with(nameless, 401, "GET", "/v1/tenants", "") // the operator token is another one
}

// TestU106_LoginsFailAlike whatever is wrong with them, are limited, and told of in the log.
func TestU106_LoginsFailAlike(t *testing.T) {
	var refusals *audit.Refusals
	a := newAPI(t, func(c *Config, o *Options) {
		refusals = audit.New(c.Store, slog.New(slog.DiscardHandler))
		c.Logins.(*token.Authenticator).WithRefusals(refusals)
		o.Refusals = refusals
	})
	a.withAlice()
	a.call(200, "POST", "/v1/tenants/acme/users?user_id=nopass", `{"role": "ADMIN"}`)
	a.call(200, "POST", "/v1/tenants?tenant_id=stopped", "")
	a.call(200, "POST", "/v1/tenants/stopped/users?user_id=alice", `{"role": "ADMIN", "password": "correct horse"}`)
	a.call(200, "POST", "/v1/tenants/stopped:suspend", "")
	a.listener("http")
	var first string
	for _, body := range []string{
		`{"tenant": "acme", "login": "alice", "password": "wrong horse"}`,
		`{"tenant": "acme", "login": "nobody", "password": "wrong horse"}`,
		`{"tenant": "acme", "login": "nopass", "password": ""}`,
		`{"tenant": "none", "login": "alice", "password": "correct horse"}`,
		`{"tenant": "stopped", "login": "alice", "password": "correct horse"}`,
		`{"tenant": "\u0000", "login": "\u0000", "password": "\u0000"}`,
	} {
		resp, text := a.send("", "POST", "/v1/sessions", body)
		if first == "" {
			first = string(text)
		}
		if resp.StatusCode != 401 || string(text) != first || len(resp.Cookies()) != 0 {
			t.Errorf("%s: %s %s", body, resp.Status, text)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"tenant": "acme"`, `{"user": "x"}`, `{"token": "x", "login": "alice"}`, strings.Repeat(" ", maxLogin) + asAlice} {
		if resp, text := a.send("", "POST", "/v1/sessions", body); resp.StatusCode != 400 {
			t.Errorf("%.40s: %s %s", body, resp.Status, text)
		}
	}
	if resp, _ := a.send("", "POST", "/v1/sessions", `{"token": "berth_wrong"}`); resp.StatusCode != 401 {
		t.Errorf("a wrong token: %s", resp.Status)
	}
	statuses := map[int]int{}
	for range token.MaxFailures + 5 {
		resp, _ := a.send("", "POST", "/v1/sessions", `{"tenant": "acme", "login": "alice", "password": "wrong horse"}`)
		statuses[resp.StatusCode]++
	}
	if statuses[401] == 0 || statuses[429] == 0 || statuses[401]+statuses[429] != token.MaxFailures+5 {
		t.Errorf("statuses %v", statuses)
	}
	refusals.Flush(t.Context())
	for path, want := range map[string]string{"/v1/tenants/acme/events": `"alice"`, "/v1/events": unknownActor} {
		resp, text := a.send(operatorToken, "GET", path+"?filter=verb%3D%22login.fail%22", "")
		if resp.StatusCode != 200 || !strings.Contains(string(text), want) || strings.Contains(string(text), "horse") {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
}

// TestU106_LoginsAreEvents, and so is the end of a session.
func TestU106_LoginsAreEvents(t *testing.T) {
	a := newAPI(t)
	a.withAlice()
	a.call(200, "PATCH", "/v1/tenants/acme", `{"disable_password_login": true}`) // of clients of registries
	a.listener("http")
	cookie := a.session(asAlice)
	a.with(cookie, 200, "DELETE", "/v1/sessions/current", "")
	tn, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	events, err := a.store.ListEvents(t.Context(), tn.ID, meta.Page{Size: 2})
	if err != nil || len(events) != 2 {
		t.Fatal(events, err)
	}
	for i, verb := range []string{"session.delete", "session.create"} {
		if e := events[i]; e.Verb != verb || e.Actor != "users/alice" || !strings.HasPrefix(e.Target, "users/alice/sessions/") || e.Address != "127.0.0.1" || e.RequestID == "" || e.UserAgent == "" || e.Changes == "" {
			t.Errorf("%+v", e)
		}
	}
}
