package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
)

// withRealm makes a world of one registry that wants tokens of the realm, and of
// token endpoints at the given origins, which give one to everyone.
func withRealm(base, realm string, endpoints ...string) (*world, *Clients) {
	w, cs := newWorld()
	token := func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, `{"token":"good"}`) }
	for _, e := range endpoints {
		w.hosts[e] = token
	}
	w.hosts[base] = func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "token"):
			token(rw, r)
		case r.Header.Get("Authorization") == "Bearer good":
			sendImage(rw, r)
		default:
			rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s",scope="repository:a/b:pull"`, realm))
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}
	return w, cs
}

// TestE4_CredentialsGoToPinnedRealmsOnly: where the credential may go, the pull
// works; elsewhere no one is even asked.
func TestE4_CredentialsGoToPinnedRealmsOnly(t *testing.T) {
	hosts := []string{"auth.example.org", "Auth2.example.org:8443"}
	for _, c := range []struct {
		base, realm string
		pinned      bool
	}{
		{origin, origin + "/token", true},
		{origin, "https://REGISTRY.example.com:443/token?x=1", true},
		{origin, "https://auth.example.org/token", true},
		{origin, "https://auth.example.org:443/token", true},
		{origin, "https://auth2.example.org:8443/token", true},
		{"https://docker.io", "https://auth.docker.io/token", true},
		{"https://registry-1.docker.io", "https://auth.docker.io/token", true},
		{"https://registry.gitlab.com", "https://gitlab.com/jwt/auth/token", true},

		{origin, "https://auth.example.com/token", false},              // sibling
		{origin, "https://example.com/token", false},                   // parent
		{origin, "https://token.registry.example.com/token", false},    // child
		{origin, "https://registry.example.com.evil.net/token", false}, // suffix
		{origin, "https://evilregistry.example.com/token", false},      // prefix
		{origin, "https://registry.example.com:8443/token", false},     // port
		{origin, "https://registry.example.com:80/token", false},
		{origin, "http://registry.example.com/token", false}, // scheme
		{origin, "http://registry.example.com:443/token", false},
		{origin, "http://auth.example.org/token", false},
		{origin, "https://auth.example.org:8443/token", false},
		{origin, "https://auth2.example.org/token", false},
		{origin, "https://x.auth.example.org/token", false},
		{origin, "https://auth.docker.io/token", false}, // of another registry
		{origin, "https://gitlab.com/jwt/auth/token", false},
		{"https://docker.io", "https://auth.docker.io:8443/token", false},
		{"https://docker.io", "http://auth.docker.io/token", false},
		{"https://docker.io", "https://docker.io/token", false},
		{"https://docker.io", "https://auth.docker.io.evil.net/token", false},
		{"https://docker.io:8443", "https://auth.docker.io/token", false},
		{"https://registry.gitlab.com", "https://registry.gitlab.com.evil.net/token", false},
		{"https://evil.amazonaws.com", "https://good.amazonaws.com/token", false}, // shared suffix
		{"https://evil.azurecr.io", "https://good.azurecr.io/token", false},
		{"https://evil.github.io", "https://good.github.io/token", false},
		{origin, "https://127.0.0.1/token", false},
		{origin, "https://[::1]/token", false},
		{origin, "https://169.254.169.254/token", false},
		{origin, "https://2130706433/token", false},
		{origin, "https://u:p@registry.example.com/token", false}, // userinfo
		{origin, "https://registry.example.com@evil.net/token", false},
		{origin, "https://auth.example.org@evil.net/token", false},
		{origin, "//registry.example.com/token", false},
		{origin, "/token", false},
		{origin, "file:///token", false},
		{origin, "ftp://registry.example.com/token", false},
		{origin, "https://registry.example.com\\@evil.net/token", false},
		{origin, "https://%72egistry.example.com\t/token", false},
	} {
		t.Run(c.base+" "+c.realm, func(t *testing.T) {
			base, err := baseURL(c.base)
			if err != nil {
				t.Fatal(err)
			}
			var endpoint []string
			if u, problem := parseURL(c.realm); problem == "" && !sameOrigin(u, base) {
				endpoint = append(endpoint, u.Scheme+"://"+u.Host)
			}
			w, cs := withRealm(base.String(), c.realm, endpoint...)
			client := clientOf(t, cs, Config{Target: Target{URL: c.base, Username: "u", Password: "p"}, AuthHosts: hosts})
			_, err = client.Manifest(t.Context(), "a/b", latest)
			basic := 0
			for _, r := range w.requests() {
				if strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") {
					basic++
				} else if !sameOrigin(r.URL, base) {
					t.Errorf("a client with a credential asked %s without it", r.URL)
				}
			}
			if c.pinned {
				if err != nil || basic != 1 {
					t.Errorf("%v, the credential was sent %d times", err, basic)
				}
				return
			}
			wantOutage(t, err)
			if basic != 0 || len(w.requests()) != 2 { // of /v2/, and of the manifest
				t.Errorf("the credential was sent %d times in %d requests", basic, len(w.requests()))
			}
		})
	}
}

// TestE4_AnonymousClientsAskAnyHTTPS: there is nothing to steal.
func TestE4_AnonymousClientsAskAnyHTTPS(t *testing.T) {
	for realm, asks := range map[string]bool{
		"https://auth.example.net/token":   true,
		"https://auth.example.net:1/token": true,
		"http://auth.example.net/token":    false,
		"https://u@auth.example.net/token": false,
	} {
		w, cs := withRealm(origin, realm, "https://auth.example.net", "https://auth.example.net:1", "http://auth.example.net")
		_, err := clientOf(t, cs, Config{Target: Target{URL: origin}}).Manifest(t.Context(), "a/b", latest)
		if (err == nil) != asks || asks != (len(w.requests()) == 3) {
			t.Errorf("%s: %v, %d requests", realm, err, len(w.requests()))
		}
		for _, r := range w.requests() {
			if strings.HasPrefix(r.Header.Get("Authorization"), "Basic") {
				t.Errorf("%s: a credential from nowhere", realm)
			}
		}
	}
}

// TestE4_ChangedRealm: what an upstream said first earns no later realm trust.
func TestE4_ChangedRealm(t *testing.T) {
	w, cs := withRealm(origin, origin+"/token", "https://evil.example.net")
	c := clientOf(t, cs, Config{Target: Target{URL: origin, Username: "u", Password: "p"}})
	if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
		t.Fatal(err)
	}
	w.hosts[origin] = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", `Bearer realm="https://evil.example.net/token"`)
		rw.WriteHeader(http.StatusUnauthorized)
	}
	_, err := c.Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	for _, r := range w.requests() {
		if r.URL.Host == "evil.example.net" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
	}
}

// tokenServer is an upstream with tokens that can be taken back.
type tokenServer struct {
	calls, pulls, denied atomic.Int64
	good                 atomic.Int64 // number of the token that is valid
	status               atomic.Int64 // of the token endpoint, if not 200
	scopes               sync.Map
	hold                 chan struct{} // token calls wait for it, if there is one
	life                 string
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		s.calls.Add(1)
		s.scopes.Store(r.URL.Query().Get("scope"), true)
		if s.hold != nil {
			<-s.hold
		}
		if status := s.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		fmt.Fprintf(w, `{"access_token":"t%d"%s}`, s.good.Load(), s.life)
		return
	}
	if r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", s.good.Load()) {
		s.denied.Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.pulls.Add(1)
	sendImage(w, r)
}

func startTokens(t *testing.T, s *tokenServer, cfg Config) *Client {
	t.Helper()
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	l := patient()
	l.documents = 500
	cfg.URL = h.URL
	return clientOf(t, newClients(Options{Allow: loopback}, l), cfg)
}

func pullAll(t *testing.T, c *Client, n int) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestR42_OneTokenCallForAll: however many pull at once, cold and when the token
// ends in the middle.
func TestR42_OneTokenCallForAll(t *testing.T) {
	s := &tokenServer{}
	c := startTokens(t, s, Config{})
	pullAll(t, c, 500)
	if n := s.calls.Load(); n != 1 {
		t.Errorf("%d token calls for 500 cold pulls", n)
	}
	pullAll(t, c, 100)
	if n := s.calls.Load(); n != 1 {
		t.Errorf("%d token calls after 100 warm pulls", n)
	}
	s.good.Add(1)
	pullAll(t, c, 500)
	if n := s.calls.Load(); n != 2 {
		t.Errorf("%d token calls after the token was taken back", n)
	}
	denied := s.denied.Load()
	pullAll(t, c, 10)
	if _, err := c.Manifest(t.Context(), "other/name", latest); err != nil || s.denied.Load() != denied || s.calls.Load() != 3 {
		t.Errorf("another repository: %v; %d needless 401s; %d token calls", err, s.denied.Load()-denied, s.calls.Load())
	}
	if _, ok := s.scopes.Load("repository:other/name:pull"); !ok {
		t.Error("the scope is not that of the repository")
	}
}

// TestR42_TheFirstCallerLeaves: the others get the token anyway.
func TestR42_TheFirstCallerLeaves(t *testing.T) {
	s := &tokenServer{hold: make(chan struct{})}
	c := startTokens(t, s, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := c.Manifest(ctx, "a/b", latest)
		first <- err
	}()
	await.True(t, 30*time.Second, "a token is asked for", func() bool { return s.calls.Load() > 0 })
	second := make(chan error, 1)
	go func() {
		_, err := c.Manifest(t.Context(), "a/b", latest)
		second <- err
	}()
	await.True(t, 30*time.Second, "both are sent for a token", func() bool { return s.denied.Load() >= 2 })
	cancel()
	if err := <-first; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("who left got %v", err)
	}
	close(s.hold)
	if err := <-second; err != nil || s.calls.Load() != 1 {
		t.Errorf("who stayed got %v after %d token calls", err, s.calls.Load())
	}
	if st := c.Status(); !st.FailedAt.IsZero() {
		t.Errorf("who left is held against the upstream: %+v", st)
	}
}

// TestR42_TokenEndpointFails: what each status comes to.
func TestR42_TokenEndpointFails(t *testing.T) {
	for status, want := range map[int]Outcome{
		401: Denied, 403: Denied, 400: Outage, 404: Outage, 410: Outage, 429: Outage, 500: Outage, 502: Outage, 503: Outage, 204: Outage, 302: Outage,
	} {
		s := &tokenServer{}
		s.status.Store(int64(status))
		c := startTokens(t, s, Config{Target: Target{Username: "u", Password: "p"}})
		_, err := c.Manifest(t.Context(), "a/b", latest)
		if got := OutcomeOf(err); got != want {
			t.Errorf("%d of the token endpoint: %s (%v)", status, got, err)
		}
		s.status.Store(0)
		if status == 429 {
			if fault.KindOf(err) != fault.TooMany {
				t.Error(err)
			}
			continue
		}
		if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
			t.Errorf("after %d of the token endpoint: %v", status, err)
		}
	}
}

// TestR42_SlowTokenEndpoint ends in time, for all waiting callers.
func TestR42_SlowTokenEndpoint(t *testing.T) {
	s := &tokenServer{hold: make(chan struct{})}
	defer close(s.hold)
	c := startTokens(t, s, Config{})
	c.limits.answer, c.limits.token = 100*time.Millisecond, 100*time.Millisecond
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			_, err := c.Manifest(t.Context(), "a/b", latest)
			if fault.KindOf(err) != fault.UpstreamTimeout {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestR42_TokensEnd: a token that is over is not sent.
func TestR42_TokensEnd(t *testing.T) {
	s := &tokenServer{life: `,"expires_in":300`}
	c := startTokens(t, s, Config{})
	pullAll(t, c, 1)
	known, _ := c.auth.tokens.Get("a/b")
	if left := time.Until(known.expires); left < 280*time.Second || left > 290*time.Second {
		t.Errorf("a token of 300 s is kept for %v", left)
	}
	known.expires = time.Now()
	c.auth.tokens.Add("a/b", known)
	s.good.Add(1)
	pullAll(t, c, 1)
	if s.denied.Load() != 1 || s.calls.Load() != 2 {
		t.Errorf("%d times denied, %d token calls", s.denied.Load(), s.calls.Load())
	}
}

// TestE13_TokensAreBounded: one is kept for each of many repositories.
func TestE13_TokensAreBounded(t *testing.T) {
	for size, taken := range map[int]bool{maxToken: true, maxToken + 1: false} {
		body := fmt.Appendf(nil, `{"token":%q}`, strings.Repeat("t", size))
		if _, err := parseToken(body, time.Now()); (err == nil) != taken {
			t.Errorf("a token of %d bytes: %v", size, err)
		}
	}
}

// TestR42_ADeniedScopeIsNotAskedForAgainAndAgain: a token that is valid and not
// enough is not replaced at each pull.
func TestR42_ADeniedScopeIsNotAskedForAgainAndAgain(t *testing.T) {
	calls := 0
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			calls++
			fmt.Fprintf(w, `{"token":"t%d"}`, calls)
			return
		}
		problem := ""
		if r.Header.Get("Authorization") != "" {
			problem = `,error="insufficient_scope"`
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`+problem)
		w.WriteHeader(http.StatusUnauthorized)
	})
	for range 20 {
		if _, err := c.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != Denied {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("%d token calls for 20 denied pulls", calls)
	}
}

// TestE4_TokensAreForPullingOnly, whatever an upstream would like to have.
func TestE4_TokensAreForPullingOnly(t *testing.T) {
	const own = "repository:a/b:pull"
	for offered, want := range map[string]string{
		"":                           own,
		"repository:a/b:pull":        own,
		"repository:a/b:pull,push":   own,
		"repository:a/b:*":           own,
		"repository:a/b:push,delete": own,
		"repository:a/b":             own,
		"repository::pull":           own,
		"registry:catalog:*":         own,
		"*":                          own,
		"repository:a/b:pull repository:secret/x:pull": own,
		"repository:local/a/b:pull,push":               "repository:local/a/b:pull",
		"repository:host:5000/a/b:pull":                "repository:host:5000/a/b:pull",
		"repository:a/b:metadata_read":                 "repository:a/b:metadata_read",
	} {
		if got := pullScope("a/b", offered); got != want {
			t.Errorf("%q: asked for %q, not %q", offered, got, want)
		}
	}
}

func TestLogin_Basic(t *testing.T) {
	asked := 0
	handler := func(w http.ResponseWriter, r *http.Request) {
		asked++
		if u, p, _ := r.BasicAuth(); u != "_json_key" || p != `{"type":"service_account"}` {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		sendImage(w, r)
	}
	s := httptest.NewServer(http.HandlerFunc(handler))
	defer s.Close()
	cs := newClients(Options{Allow: loopback}, patient())
	c := clientOf(t, cs, Config{Key: "1", Target: Target{URL: s.URL, Username: "_json_key", Password: `{"type":"service_account"}`}})
	for range 3 {
		if _, err := c.Manifest(t.Context(), "a/b", latest); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 4 {
		t.Errorf("%d requests for 3 pulls", asked)
	}
	for key, cfg := range map[string]Config{"2": {Target: Target{Username: "_json_key", Password: "wrong"}}, "3": {}} {
		cfg.Key, cfg.URL = key, s.URL
		_, err := clientOf(t, cs, cfg).Manifest(t.Context(), "a/b", latest)
		if OutcomeOf(err) != Denied || fault.KindOf(err) != fault.Denied || !strings.Contains(fault.From(err).Message, `"up"`) {
			t.Errorf("%v: %v", cfg, err)
		}
	}
}

func TestLogin_ABrokenChallengeIsNoDenial(t *testing.T) {
	c := serve(t, patient(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="://,service=,scope`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	if _, err := c.Manifest(t.Context(), "a/b", latest); OutcomeOf(err) != Outage || fault.KindOf(err) != fault.BadUpstream {
		t.Errorf("%v", err)
	}
}

// TestLogin_DockerHub: its other name, its official images, its token endpoint.
func TestLogin_DockerHub(t *testing.T) {
	w, cs := withRealm("https://registry-1.docker.io", "https://auth.docker.io/token", "https://auth.docker.io")
	c := clientOf(t, cs, Config{Target: Target{URL: "https://docker.io"}})
	for _, name := range []string{"alpine", "library/alpine", "acme/app"} {
		if _, err := c.Manifest(t.Context(), name, latest); err != nil {
			t.Fatal(err)
		}
	}
	var paths []string
	for _, r := range w.requests() {
		if r.Header.Get("Authorization") == "Bearer good" {
			paths = append(paths, r.URL.Path)
		}
	}
	if got := strings.Join(paths, " "); got != "/v2/library/alpine/manifests/latest /v2/library/alpine/manifests/latest /v2/acme/app/manifests/latest" {
		t.Error(got)
	}
	if _, err := c.HasBlob(t.Context(), "alpine", oci.DigestOf(oci.SHA256, nil)); err != nil {
		t.Error(err)
	}
}
