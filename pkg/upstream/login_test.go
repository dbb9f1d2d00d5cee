package upstream

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hub is Docker Hub: its token endpoint issues tokens to the account u with the password
// p, and what it does not have is a 401.
type hub struct {
	subject   string // of its tokens, which are JWTs
	opaque    bool   // its tokens are not JWTs
	errorCode string // of the challenge to a token
	status    int    // of what it does not have; 0 = 401
	fallback  bool   // another password is anonymous, and not refused
}

func (h hub) token() string {
	if h.opaque {
		return "opaque"
	}
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"access":[],"sub":%q}`, h.subject))
	return "e30." + claims + ".c2ln"
}

func (h hub) world() (*world, *Clients) {
	w, cs := newWorld()
	w.hosts["https://"+hubAuth] = func(rw http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); (u != "u" || p != "p") && !h.fallback {
			says(401, "application/json", `{"details":"incorrect username or password"}`)(rw, r)
			return
		}
		fmt.Fprintf(rw, `{"token":%q}`, h.token())
	}
	w.hosts["https://"+hubHost] = func(rw http.ResponseWriter, r *http.Request) {
		challenge := `Bearer realm="https://` + hubAuth + `/token",service="registry.docker.io",scope="repository:acme/none:pull"`
		status := http.StatusUnauthorized
		if r.Header.Get("Authorization") != "" {
			challenge += `,error="` + h.errorCode + `"`
			status = max(h.status, status)
		}
		says(status, "application/json", errorBody("UNAUTHORIZED"), "WWW-Authenticate", challenge)(rw, r)
	}
	return w, cs
}

// TestT50_ADenialIsProvenByALogin: which 401 says that the repository is not there.
func TestT50_ADenialIsProvenByALogin(t *testing.T) {
	account := Config{Target: Target{URL: "https://docker.io", Username: "u", Password: "p"}}
	wrong := Config{Target: Target{URL: "https://docker.io", Username: "u", Password: "wrong"}}
	for name, c := range map[string]struct {
		hub    hub
		config Config
		proven bool
	}{
		"a token of the account":             {hub{subject: "u", errorCode: "insufficient_scope"}, account, true},
		"a token that is no JWT":             {hub{opaque: true, errorCode: "insufficient_scope"}, account, true},
		"a refused login":                    {hub{subject: "u"}, wrong, false},
		"an anonymous fallback":              {hub{fallback: true, errorCode: "insufficient_scope"}, wrong, false},
		"403":                                {hub{subject: "u", status: http.StatusForbidden}, account, false},
		"a token that is called invalid":     {hub{subject: "u", errorCode: "invalid_token"}, account, false},
		"no credential":                      {hub{errorCode: "insufficient_scope", fallback: true}, Config{Target: Target{URL: "https://docker.io"}}, false},
		"a token of the account, not scoped": {hub{subject: "u"}, account, true},
	} {
		_, cs := c.hub.world()
		client := clientOf(t, cs, c.config)
		for _, ask := range []func() error{
			func() error { _, err := client.Manifest(t.Context(), "acme/none", latest); return err },
			func() error { _, err := client.HeadManifest(t.Context(), "acme/none", "latest"); return err },
			func() error { _, err := allTagsOf(t.Context(), client, "acme/none", 10); return err },
		} {
			err := ask()
			var e *Error
			if !errors.As(err, &e) || e.Outcome != Denied || e.LoginAccepted() != c.proven {
				t.Errorf("%s: %+v, want proven %v", name, err, c.proven)
			}
		}
	}
}

// TestT51_AGreetingThatFails is no outage of an upstream with a credential, and the first
// 401 teaches the login. It is remembered, so that a host that is down is asked
// once for each question. An absence without the login does not count.
func TestT51_AGreetingThatFails(t *testing.T) {
	for name, greeting := range map[string]http.HandlerFunc{
		"leads nowhere":       says(http.StatusFound, "", ""),
		"leads without end":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v2/", http.StatusFound) },
		"leads to a page":     says(http.StatusFound, "", "", "Location", "http://login.example.com/"),
		"leads to other port": says(http.StatusFound, "", "", "Location", "http://127.0.0.1:1/"),
		"breaks off": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
	} {
		isManifest := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
		client, asked := plainly(t, withCredential, bearer(isManifest, greeting))
		for range 2 {
			if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Errorf("/v2/ %s: %v", name, err)
			}
		}
		if got := asked.take(); strings.Count(got, "manifests/latest") != 3 || strings.Count(got, "/token") != 1 {
			t.Errorf("/v2/ %s: asked %s", name, got)
		}
		client, asked = plainly(t, withCredential, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				greeting(w, r)
				return
			}
			says(404, "application/json", errorBody("MANIFEST_UNKNOWN"))(w, r)
		})
		_, err := client.Manifest(t.Context(), "a/b", latest)
		if e := wantOutage(t, err); !strings.Contains(e.Message, "not_found to TRUST") {
			t.Errorf("/v2/ %s: %v", name, e)
		}
		asked.take()
		for range 3 {
			_, _ = client.Manifest(t.Context(), "a/b", latest)
		}
		if got := asked.take(); strings.Contains(got, "/v2/") {
			t.Errorf("/v2/ %s: after it failed, asked %s", name, got)
		}
	}
}

// TestT51_AGreetingThatIsSlow does not keep the first pull from an answer.
func TestT51_AGreetingThatIsSlow(t *testing.T) {
	l := patient()
	l.token = 200 * time.Millisecond
	isManifest := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
	client := serve(t, l, bearer(isManifest, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	client.config.Username, client.config.Password = "u", "p"
	if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
		t.Error(err)
	}
}

// TestT52_ALoginBeforeARedirect does not count at the registry that it leads to, which
// gives tokens to everyone.
func TestT52_ALoginBeforeARedirect(t *testing.T) {
	w, cs := withRealm("https://other.example.net", "https://auth.example.net/token", "https://auth.example.net")
	w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprint(rw, `{"token":"own"}`)
		case r.Header.Get("Authorization") != "Bearer own":
			says(401, "", "", "WWW-Authenticate", `Bearer realm="`+origin+`/token"`)(rw, r)
		default:
			http.Redirect(rw, r, "https://other.example.net"+r.URL.Path, http.StatusTemporaryRedirect)
		}
	}
	client := clientOf(t, cs, Config{Target: Target{URL: origin}})
	for range 2 {
		if _, err := client.Manifest(t.Context(), "a/b", latest); err != nil {
			t.Error(err)
		}
	}
}

// TestT52_AnotherHostSettlesNoDoubt: /v2/ asks for a login that fails, and without it the
// upstream leads to a registry that serves everyone.
func TestT52_AnotherHostSettlesNoDoubt(t *testing.T) {
	w, cs := withRealm("https://other.example.net", "https://auth.example.net/token", "https://auth.example.net")
	w.hosts[origin] = func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/":
			says(401, "", "", "WWW-Authenticate", `Bearer realm="`+origin+`/token"`)(rw, r)
		case "/token":
			rw.WriteHeader(http.StatusInternalServerError)
		default:
			http.Redirect(rw, r, "https://other.example.net"+r.URL.Path, http.StatusTemporaryRedirect)
		}
	}
	client := clientOf(t, cs, Config{Target: Target{URL: origin, Username: "u", Password: "p"}})
	if _, err := client.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != Outage {
		t.Errorf("%v, want an outage", err)
	}
}

// TestT53_ARefusedPasswordOfECR is replaced once a minute, however often it is refused.
func TestT53_ARefusedPasswordOfECR(t *testing.T) {
	password, calls := "never right", 0
	_, cs := ecrWorld(&password, func(rw http.ResponseWriter, _ *http.Request) {
		calls++
		rw.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(rw, `{"authorizationData":[{"authorizationToken":%q}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:refused")))
	})
	c := clientOf(t, cs, Config{Target: Target{URL: ecrRegistry, Username: "AKIAEXAMPLE", Password: "x"}})
	for range 10 {
		if err := pullManifest(t, c); OutcomeOf(err) != Denied {
			t.Error(err)
		}
	}
	if calls > 2 {
		t.Errorf("the API was called %d times", calls)
	}
}
