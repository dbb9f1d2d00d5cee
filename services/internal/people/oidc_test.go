package people

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/tools/testserver"
)

const callback = "https://berth.example.com/v1/login/callback"

// atIssuer is a world whose provider sso is a real issuer, with max in dev.
type atIssuer struct {
	*world
	sso      *testserver.OpenID
	provider meta.IdentityProvider
	issuers  *Issuers
	way      *http.Transport
	logins   int
	closed   error // of who opens the client
}

// newIssuer has an issuer; without a key, refresh tokens are not kept.
func newIssuer(t *testing.T, keys ...[]byte) *atIssuer {
	t.Helper()
	w := &atIssuer{world: newWorld(t), sso: testserver.StartOpenID(t, callback)}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.sso.CA)
	w.way = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(w.way.CloseIdleConnections)
	var err error
	w.provider, err = w.CreateIdentityProvider(t.Context(), by(), meta.IdentityProvider{
		Tenant: w.tenant, Slug: "sso", Kind: meta.OIDC, Settings: meta.ProviderSettings{Refresh: 5 * time.Minute, Grace: time.Hour, OIDC: &meta.OIDCSettings{
			Issuer: w.sso.URL, ClientID: testserver.OpenIDClient, Groups: "groups", GroupsMaxAge: 12 * time.Hour,
		}},
	})
	w.must(err)
	group, err := w.FindPrincipalGroup(t.Context(), w.tenant, "dev")
	w.must(err)
	group.Identities = []meta.GroupIdentity{{Provider: w.provider.ID, Group: "dev"}}
	_, err = w.UpdatePrincipalGroup(t.Context(), by(), group)
	w.must(err)
	directories := NewDirectories(w.Store, func(_ context.Context, p meta.IdentityProvider) (login.Directory, error) {
		if w.closed != nil {
			return nil, w.closed
		}
		return oidclogin.New(oidclogin.Options{Settings: OIDCSettings(*p.Settings.OIDC, testserver.OpenIDSecret), Named: w.way, Led: w.way, Now: time.Now})
	})
	secrets, err := seal.New(keys...)
	w.must(err)
	w.people = New(w.Store, directories)
	w.people.now = func() time.Time { return w.now }
	w.issuers = NewIssuers(w.people, secrets)
	w.refresher = NewRefresher(w.Store, directories, lease.NewMemory(), secrets, w.refresher.log)
	w.refresher.now = func() time.Time { return w.now }
	w.sso.LogsIn("s-max", "max", map[string]any{"groups": []string{"dev"}})
	return w
}

var someKey = []byte("the secret key of the tests")

// browses logs in at the issuer as a browser does.
func (w *atIssuer) browses() (access.Principal, error) {
	w.t.Helper()
	w.logins++
	f := oidclogin.Flow{State: strings.Repeat("s", w.logins), Nonce: "nonce", Verifier: oauth2.GenerateVerifier(), Redirect: callback}
	id, err := w.issuers.Find(w.t.Context(), w.tenant, "identityProviders/sso")
	w.must(err)
	at, err := w.issuers.Begin(w.t.Context(), w.tenant, id, f)
	w.must(err)
	var code string
	browser := &http.Client{Transport: w.way, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if code = r.URL.Query().Get("code"); code != "" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, at, nil)
	w.must(err)
	resp, err := browser.Do(req)
	w.must(err)
	w.must(resp.Body.Close())
	return w.issuers.Finish(w.t.Context(), w.tenant, id, f, code, "", time.Minute)
}

func (w *atIssuer) in() {
	w.t.Helper()
	if p, err := w.browses(); err != nil || p.Name != "users/max" {
		w.t.Fatalf("%+v, %v", p, err)
	}
}

func (w *atIssuer) max() meta.Person {
	w.t.Helper()
	p, err := w.FindPerson(w.t.Context(), w.tenant, "max")
	w.must(err)
	return p
}

func (w *atIssuer) key() {
	w.t.Helper()
	_, err := w.CreateAccountKey(w.t.Context(), by(), w.tenant, access.UserKind, "max", meta.AccountKey{Name: "laptop"})
	w.must(err)
}

func (w *atIssuer) wantDev(what string, want bool) {
	w.t.Helper()
	if got := w.inDev("max"); got != want {
		w.t.Errorf("%s: in dev %t", what, got)
	}
}

// TestV77_GroupsOfAnIssuerAreReadAgain without a login, and end with those who are gone.
func TestV77_GroupsOfAnIssuerAreReadAgain(t *testing.T) {
	w := newIssuer(t, someKey)
	w.in()
	w.key()
	w.wantDev("after the login", true)
	first := w.max().Refresh
	if len(first) == 0 {
		t.Fatal("no refresh token is kept")
	}
	w.pass(5 * time.Minute)
	w.wantDev("read again", true)
	if again := w.max().Refresh; len(again) == 0 || string(again) == string(first) {
		t.Error("the refresh token was not replaced")
	}
	w.sso.LogsIn("s-max", "max", map[string]any{"groups": []string{"staff"}})
	w.pass(5 * time.Minute)
	w.wantDev("out of the group", false)
	w.sso.LogsIn("s-max", "max", map[string]any{"groups": "dev"})
	w.pass(5 * time.Minute)
	w.wantDev("back in it", true)
	w.sso.Remove("s-max")
	w.pass(5 * time.Minute)
	if p := w.max(); !p.Disabled || len(p.Refresh) != 0 {
		t.Errorf("gone: %+v", p)
	}
	w.sso.LogsIn("s-max", "max", map[string]any{"groups": "dev"})
	w.in() // and the issuer has the person again
	w.wantDev("returned", true)
}

// TestV77_WithoutARefreshTokenGroupsEnd after groups_max_age, access tokens' included, until the next login.
func TestV77_WithoutARefreshTokenGroupsEnd(t *testing.T) {
	w := newIssuer(t)
	w.in()
	w.key()
	if p := w.max(); len(p.Refresh) != 0 {
		t.Errorf("a refresh token is kept without a key: %q", p.Refresh)
	}
	w.sso.LogsIn("s-max", "max", nil)
	w.pass(12*time.Hour - time.Minute)
	w.wantDev("before groups_max_age", true)
	w.pass(time.Minute)
	w.wantDev("after it", false)
	if p := w.max(); p.Disabled {
		t.Errorf("%+v", p)
	}
	w.sso.LogsIn("s-max", "max", map[string]any{"groups": "dev"})
	w.in()
	w.wantDev("after another login", true)
}

// TestV76_WhatAnIssuerSaidHoldsWhileItIsDown for directory_grace.
func TestV76_WhatAnIssuerSaidHoldsWhileItIsDown(t *testing.T) {
	w := newIssuer(t, someKey)
	w.in()
	w.key()
	w.sso.Between(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	})
	for range 13 {
		w.pass(5 * time.Minute)
	}
	w.wantDev("after refresh_interval and directory_grace", false)
	if p := w.max(); p.Disabled || len(p.Refresh) == 0 {
		t.Errorf("%+v", p)
	}
	w.sso.Between(nil)
	w.pass(5 * time.Minute)
	w.wantDev("when it is back", true)
}

// TestV78_ACrashWhileARefreshTokenIsUsedEndsNoOne: the issuer may have replaced it, so that what it says
// of the old one is not about the person.
func TestV78_ACrashWhileARefreshTokenIsUsedEndsNoOne(t *testing.T) {
	w := newIssuer(t, someKey)
	w.in()
	w.key()
	if sealed := string(w.max().Refresh); strings.Contains(sealed, "-") && len(sealed) < 60 {
		t.Errorf("the refresh token is not sealed: %q", sealed)
	}
	before := w.max()
	if mine, err := w.TryRefresh(t.Context(), before); err != nil || !mine {
		t.Fatal(mine, err)
	}
	w.rotate(before)
	w.now = w.now.Add(10 * time.Second)
	w.pass(0) // within the time that the other process has
	w.wantDev("while another process uses it", true)
	w.pass(5 * time.Minute)
	if p := w.max(); p.Disabled || len(p.Refresh) != 0 {
		t.Errorf("%+v", p)
	}
	w.wantDev("without a refresh token", false)
	w.in()
	w.wantDev("after another login", true)
	w.pass(5 * time.Minute)
	w.wantDev("read again", true)
}

// rotate uses the refresh token, as a process that dies before it keeps the next one.
func (w *atIssuer) rotate(p meta.Person) {
	w.t.Helper()
	token, err := w.issuers.secrets.Open(p.Refresh, refreshName(w.provider, p.Subject))
	w.must(err)
	c, err := w.people.directories.issuer(w.t.Context(), w.provider)
	w.must(err)
	_, err = c.Refresh(w.t.Context(), p.Subject, token, func(string, bool) error { return nil })
	w.must(err)
}
