package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/services/internal/people"
	"github.com/berth-registry/berth/tools/testserver"
)

// issuers is an API with the tenants acme and other, an operator's issuer corp with max, and an
// issuer of acme, second.
type issuers struct {
	*api
	corp, second *testserver.OpenID
	way          *http.Transport // of browsers, and of Berth to issuers
}

func withIssuers(t *testing.T, change ...func(*Config, *Options)) *issuers {
	t.Helper()
	w := &issuers{way: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}}}
	t.Cleanup(w.way.CloseIdleConnections)
	w.api = newAPI(t, append(change, func(c *Config, _ *Options) {
		open := func(_ context.Context, p meta.IdentityProvider) (login.Directory, error) {
			secret, err := c.Secrets.Open(p.Secret, p.SecretName())
			if err != nil {
				return nil, err
			}
			return oidclogin.New(oidclogin.Options{Settings: people.OIDCSettings(*p.Settings.OIDC, secret), Named: w.way, Led: w.way, Now: time.Now})
		}
		c.Issuers = people.NewIssuers(people.New(c.Store.(people.Store), people.NewDirectories(c.Store.(people.Store), open)), c.Secrets)
		var err error
		if c.LoginKeys, err = seal.New([]byte("the key of logins of the tests")); err != nil {
			t.Fatal(err)
		}
	})...)
	w.listener("http")
	w.corp, w.second = w.issuer(), w.issuer()
	for _, slug := range []string{"acme", "other"} {
		w.call(200, "POST", "/v1/tenants?tenant_id="+slug, "")
	}
	w.provider("/v1/identityProviders", "corp", w.corp)
	w.provider(providersPath, "second", w.second)
	return w
}

// issuer starts one that knows max, by whom all its logins are.
func (w *issuers) issuer() *testserver.OpenID {
	w.t.Helper()
	o := testserver.StartOpenID(w.t)
	w.way.TLSClientConfig.RootCAs.AppendCertsFromPEM(o.CA)
	o.LogsIn("s-max", "Max", map[string]any{"groups": []string{"dev"}, "email": "max@example.org", "email_verified": false})
	return o
}

func (w *issuers) provider(parent, slug string, o *testserver.OpenID) {
	w.t.Helper()
	made := w.call(200, "POST", parent+"?identity_provider_id="+slug, fmt.Sprintf(
		`{"oidc": {"issuer": %q, "client_id": %q, "client_secret": %q, "groups_claim": "groups"}}`, o.URL, testserver.OpenIDClient, testserver.OpenIDSecret))
	o.RedirectTo(w.url+made["oidc"].(map[string]any)["redirect_uri"].(string), w.url+"/elsewhere")
}

// browser has cookies of its own.
type browser struct {
	*issuers
	client *http.Client
	came   string // where an issuer sent it back to
}

func (w *issuers) browser() *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{issuers: w, client: &http.Client{Transport: w.way, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), w.url) || strings.Contains(r.URL.Path, "/elsewhere") {
			return http.ErrUseLastResponse // the test decides what comes back
		}
		return nil
	}}}
}

func (b *browser) get(at string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, at, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

// begin is the URL at the issuer to which a login leads.
func (b *browser) begin(query string) *url.URL {
	b.t.Helper()
	resp, text := b.first(query)
	at, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("%s: %s %s, %v", query, resp.Status, text, err)
	}
	return at
}

// first is the first response of a login.
func (b *browser) first(query string) (*http.Response, string) {
	b.t.Helper()
	stay := *b.client
	stay.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return (&browser{issuers: b.issuers, client: &stay}).get(b.url + loginPath + "?" + query)
}

// logIn logs in at the issuer, and returns what the browser is sent back with.
func (b *browser) logIn(at *url.URL) url.Values {
	b.t.Helper()
	resp, text := b.get(at.String())
	back, err := resp.Location()
	if err != nil {
		b.t.Fatalf("%s %s, %v", resp.Status, text, err)
	}
	b.came = back.Path
	return back.Query()
}

const (
	atCorp   = "tenant=acme&provider=operator/identityProviders/corp"
	atSecond = "tenant=acme&provider=identityProviders/second"
)

// back begins a login, and returns what the browser is sent back with.
func (b *browser) back(query string) url.Values {
	b.t.Helper()
	return b.logIn(b.begin(query))
}

func (b *browser) callback(with url.Values) (*http.Response, string) {
	b.t.Helper()
	return b.get(b.url + b.came + "?" + with.Encode())
}

// enters is a whole login, as the account.
func (b *browser) enters(query, account string) {
	b.t.Helper()
	resp, text := b.callback(b.back(query))
	if resp.StatusCode != http.StatusOK || !strings.Contains(text, "logged in as users/"+account+".") {
		b.t.Fatalf("%s: %s %s", query, resp.Status, text)
	}
	if resp, text := b.get(b.url + "/v1/caller"); resp.StatusCode != http.StatusOK || !strings.Contains(text, `"users/`+account+`"`) {
		b.t.Errorf("with the session: %s %s", resp.Status, text)
	}
}

// state is all that a login may change.
func (w *issuers) state() string {
	w.t.Helper()
	var all strings.Builder
	for _, path := range []string{"/v1/tenants/acme/users", "/v1/tenants/other/users", "/v1/tenants/acme/events", "/v1/tenants/other/events"} {
		_, text := w.send(operatorToken, "GET", path, "")
		all.Write(text)
	}
	return all.String()
}
