package oidclogin_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/tools/testserver"
)

const callback = "https://berth.example.com/v1/login/callback"

// world is a client of a real issuer, with max in the groups dev and staff.
type world struct {
	t      *testing.T
	issuer *testserver.OpenID
	way    http.RoundTripper
	client *oidclogin.Client
	now    time.Duration // from the present
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, issuer: testserver.StartOpenID(t, callback)}
	w.way = trusting(t, w.issuer.CA)
	w.client = w.open(oidclogin.Settings{Issuer: w.issuer.URL, ClientID: testserver.OpenIDClient, ClientSecret: testserver.OpenIDSecret, Groups: "groups"})
	w.issuer.LogsIn("s-max", "Max", map[string]any{"groups": []string{"staff", "dev"}})
	return w
}

func trusting(t *testing.T, authorities []byte) *http.Transport {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(way.CloseIdleConnections)
	return way
}

func (w *world) open(s oidclogin.Settings) *oidclogin.Client {
	w.t.Helper()
	c, err := oidclogin.New(oidclogin.Options{Settings: s, Named: w.way, Led: w.way, Now: func() time.Time { return time.Now().Add(w.now) }})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func newFlow() oidclogin.Flow {
	return oidclogin.Flow{State: "state", Nonce: "nonce", Verifier: oauth2.GenerateVerifier(), Redirect: callback}
}

// begin logs in at the issuer, and returns what it sends the browser back with.
func (w *world) begin(c *oidclogin.Client, f oidclogin.Flow) url.Values {
	w.t.Helper()
	at, err := c.Begin(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.browse(at)
}

func (w *world) browse(at string) url.Values {
	w.t.Helper()
	var back url.Values
	browser := &http.Client{Transport: w.way, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			back = r.URL.Query()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, at, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := browser.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return back
}

// login is a whole one.
func (w *world) login(c *oidclogin.Client) (oidclogin.Answer, error) {
	w.t.Helper()
	f := newFlow()
	return c.Finish(w.t.Context(), f, w.begin(c, f).Get("code"), "")
}

func (w *world) wantIn() oidclogin.Answer {
	w.t.Helper()
	a, err := w.login(w.client)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) wantRefused(what string, err error) {
	w.t.Helper()
	if fault.KindOf(err) != fault.Unauthenticated {
		w.t.Errorf("%s: %v", what, err)
	}
}

func (w *world) wantDown(what string, err error) {
	w.t.Helper()
	if fault.KindOf(err) != fault.Unavailable || fault.From(err).RetryAfter == 0 {
		w.t.Errorf("%s: %v", what, err)
	}
}

// answering changes what the token endpoint, or another path, answers.
func (w *world) answering(path string, change func(body map[string]any)) {
	w.issuer.Between(func(issuer http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				issuer.ServeHTTP(rw, r)
				return
			}
			got := httptest.NewRecorder()
			issuer.ServeHTTP(got, r)
			var body map[string]any
			if json.Unmarshal(got.Body.Bytes(), &body) != nil {
				body = map[string]any{}
			}
			change(body)
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(got.Code)
			_ = json.NewEncoder(rw).Encode(body)
		})
	})
}

// kept remembers the refresh token that counts.
type kept struct{ token string }

func (k *kept) keep(token string, _ bool) error { k.token = token; return nil }

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
