package oidclogin_test

import (
	"bytes"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/tools/testserver"
)

const discovery = "/.well-known/openid-configuration"

// TestV75_AnIssuerLeadsNowhereElse: what it publishes is bounded, of its own, by https, and leads to
// no internal network.
func TestV75_AnIssuerLeadsNowhereElse(t *testing.T) {
	w := newWorld(t)
	for what, hostile := range map[string]func(http.Handler) http.Handler{
		"a discovery document of 10 MB": at(discovery, large),
		"keys of 10 MB":                 at("/keys", large),
		"tokens of 10 MB":               at("/oauth/token", large),
		"a redirect to another host":    at(discovery, http.RedirectHandler("https://localhost:1/", http.StatusFound).ServeHTTP),
		"no JSON":                       at(discovery, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }),
		"no keys":                       at("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys": []}`)) }),
	} {
		w.issuer.Between(hostile)
		w.wantNone(what)
	}
	for what, change := range map[string]func(body map[string]any){
		"another issuer":                 func(body map[string]any) { body["issuer"] = "https://issuer.example.com" },
		"another host's keys":            func(body map[string]any) { body["jwks_uri"] = "https://127.0.0.1:1/keys" },
		"another host's tokens":          func(body map[string]any) { body["token_endpoint"] = "https://127.0.0.1:1/token" },
		"tokens by http":                 func(body map[string]any) { body["token_endpoint"] = "http://127.0.0.1:1/token" },
		"a login by http":                func(body map[string]any) { body["authorization_endpoint"] = "http://127.0.0.1/login" },
		"a login by script":              func(body map[string]any) { body["authorization_endpoint"] = "javascript:alert(1)" },
		"another host's userinfo":        func(body map[string]any) { body["userinfo_endpoint"] = "https://127.0.0.1:1/userinfo" },
		"userinfo by http":               func(body map[string]any) { body["userinfo_endpoint"] = "http://127.0.0.1:1/userinfo" },
		"responses that name the issuer": func(body map[string]any) { body["authorization_response_iss_parameter_supported"] = true },
	} {
		w.answering(discovery, change)
		w.wantNone(what)
	}
}

func at(path string, h http.HandlerFunc) func(http.Handler) http.Handler {
	return func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				h(w, r)
				return
			}
			issuer.ServeHTTP(w, r)
		})
	}
}

func large(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"x": "`))
	for range 160 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte(`"}`))
}

// wantNone fails the test where a login ends well for a client that knows nothing of the issuer.
func (w *world) wantNone(what string) {
	w.t.Helper()
	w.client = w.open(w.client.Settings)
	f := newFlow()
	to, err := w.client.Begin(w.t.Context(), f)
	var a oidclogin.Answer
	if err == nil {
		a, err = w.client.Finish(w.t.Context(), f, w.browse(to).Get("code"), "")
	}
	if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Unauthenticated {
		w.t.Errorf("%s: %+v, %v", what, a.Person, err)
	}
}

// TestV75_ATenantsIssuerIsNotInside: the guard of upstreams is before it.
func TestV75_ATenantsIssuerIsNotInside(t *testing.T) {
	issuer := testserver.StartOpenID(t, callback)
	asked := false
	issuer.Between(func(h http.Handler) http.Handler { asked = true; return h })
	open := func(allow ...upstream.Network) *oidclogin.Client {
		ways := upstream.New(upstream.Options{Allow: allow, Authorities: func() []byte { return issuer.CA }})
		c, err := oidclogin.New(oidclogin.Options{
			Settings: oidclogin.Settings{Issuer: issuer.URL, ClientID: "berth"}, Named: ways.Transport("acme"), Led: ways.PublicTransport(), Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if to, err := open().Begin(t.Context(), newFlow()); fault.KindOf(err) != fault.Unavailable || asked {
		t.Errorf("%s, %v", to, err)
	}
	allowed := upstream.Network{Prefix: netip.MustParsePrefix("127.0.0.0/8")}
	if to, err := open(allowed).Begin(t.Context(), newFlow()); err != nil || !strings.HasPrefix(to, issuer.URL) {
		t.Errorf("%s, %v", to, err)
	}
}

// TestV76_AnIssuerThatIsDownIsAskedAgain, but not by all that wait; what it published before counts on.
func TestV76_AnIssuerThatIsDownIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	asked := 0
	w.issuer.Between(at(discovery, func(rw http.ResponseWriter, _ *http.Request) {
		asked++
		http.Error(rw, "busy", http.StatusServiceUnavailable)
	}))
	for range 5 {
		_, err := w.client.Begin(t.Context(), newFlow())
		w.wantDown("a login", err)
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	w.issuer.Between(nil)
	w.now = 10 * time.Second
	w.wantIn()
	w.issuer.Between(at(discovery, func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "busy", http.StatusServiceUnavailable) }))
	w.now += time.Hour
	if _, err := w.client.Begin(t.Context(), newFlow()); err != nil {
		t.Error(err)
	}
}
