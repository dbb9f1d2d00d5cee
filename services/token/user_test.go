package token_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/token"
)

// users is a tenant with the user alice, whose password can be changed.
type users struct {
	*fronttest.Deployment
	t    *testing.T
	acme tenant.Site
	auth *token.Authenticator
}

func withAlice(t *testing.T) *users {
	d := fronttest.New(t)
	u := &users{d, t, d.Tenant("acme", tenant.Settings{}), authenticator(d.Meta)}
	a := meta.Account{Tenant: u.acme.Tenant, Kind: access.UserKind, Slug: "alice", Role: access.Writer, Password: u.hash("the first password")}
	if _, err := d.Meta.CreateAccount(t.Context(), fronttest.By(), a); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *users) hash(password string) string {
	u.t.Helper()
	hash, err := cheap.Hash(context.Background(), u.acme.Tenant, password)
	if err != nil {
		u.t.Fatal(err)
	}
	return hash
}

func (u *users) change(change func(*meta.Account)) {
	u.t.Helper()
	a, err := u.Meta.FindAccount(u.t.Context(), u.acme.Tenant, access.UserKind, "alice")
	if err == nil {
		change(&a)
		_, err = u.Meta.UpdateAccount(u.t.Context(), fronttest.By(), a)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// login fails the test unless alice gets in with the password, or does not.
func (u *users) login(password string, want bool) {
	u.t.Helper()
	p, err := u.auth.Authenticate(u.t.Context(), u.acme, "alice", password)
	switch {
	case want && (err != nil || p.Name != "users/alice" || p.Role != access.Writer || p.ID == 0):
		u.t.Errorf("%q: %+v, %v", password, p, err)
	case !want && fault.KindOf(err) != fault.Unauthenticated:
		u.t.Errorf("%q: %+v, %v", password, p, err)
	}
}

func TestU25_UsersLogInAtTheTokenEndpointAndByBasic(t *testing.T) {
	d := serve(t)
	u := &users{Deployment: d, t: t, acme: d.Tenant("acme", tenant.Settings{})}
	a := meta.Account{Tenant: u.acme.Tenant, Kind: access.UserKind, Slug: "alice", Role: access.Writer, Password: u.hash("the first password")}
	if _, err := d.Meta.CreateAccount(t.Context(), fronttest.By(), a); err != nil {
		t.Fatal(err)
	}
	with := func(password string) http.Header {
		return fronttest.Headers("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:"+password)))
	}
	req := get(u.acme.Host, "scope=repository:app:pull,push,delete")
	req.Header = with("the first password")
	if got := reach(d, u.acme.Host, "app", issued(t, d.Do(req))); got != "GET PUT" {
		t.Errorf("the token opens %q", got)
	}
	req.Header = with("another password")
	if got := d.Do(req); got.Status != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d %s", got.Status, got.Body)
	}
}

// TestU27_ARememberedLoginEndsWithItsPassword, with the account, and with the tenant's
// setting: at once, and in every process.
func TestU27_ARememberedLoginEndsWithItsPassword(t *testing.T) {
	u := withAlice(t)
	for range 3 {
		u.login("the first password", true)
	}
	u.change(func(a *meta.Account) { a.Password = u.hash("the second password") })
	u.login("the first password", false)
	u.login("the second password", true)
	u.change(func(a *meta.Account) { a.Disabled = true })
	u.login("the second password", false)
	u.change(func(a *meta.Account) { a.Disabled = false })
	u.login("the second password", true)
	u.acme.NoPasswords = true
	u.login("the second password", false)
	u.acme.NoPasswords = false
	u.change(func(a *meta.Account) { a.Password = "" })
	u.login("the second password", false)
	u.login("", false)
}

// TestU27_AKeyIsNotRememberedAsAPassword of its user: it ends with its key.
func TestU27_AKeyIsNotRememberedAsAPassword(t *testing.T) {
	u := withAlice(t)
	key := meta.AccountKey{Name: "k", Hash: sha256.Sum256([]byte("a secret of one's own"))}
	if _, err := u.Meta.CreateAccountKey(t.Context(), fronttest.By(), u.acme.Tenant, access.UserKind, "alice", key); err != nil {
		t.Fatal(err)
	}
	u.login("a secret of one's own", true)
	if err := u.Meta.DeleteAccountKey(t.Context(), fronttest.By(), u.acme.Tenant, access.UserKind, "alice", "k"); err != nil {
		t.Fatal(err)
	}
	u.login("a secret of one's own", false)
	u.login("the first password", true)
}

// TestU26_KeysWorkWithoutPasswords, and the answer to a right password is that to a wrong
// one, or to a name that is unknown.
func TestU26_KeysWorkWithoutPasswords(t *testing.T) {
	u := withAlice(t)
	u.Account(u.acme, "ci", access.Writer)
	u.acme.NoPasswords = true
	if _, err := u.auth.Authenticate(t.Context(), u.acme, "ci", fronttest.Secret("ci")); err != nil {
		t.Error(err)
	}
	var first string
	for _, c := range [][2]string{{"alice", "the first password"}, {"alice", "wrong password"}, {"none", "the first password"}, {"ci", "wrong password"}} {
		_, err := u.auth.Authenticate(t.Context(), u.acme, c[0], c[1])
		e := fault.From(err)
		if first == "" {
			first = e.Message
		}
		if e.Kind != fault.Unauthenticated || e.Message != first || e.Message == "the name or the secret is wrong" {
			t.Errorf("%s: %v", c[0], err)
		}
	}
}
