package login_test

import (
	"context"
	"crypto/sha256"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/logintest"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
)

var hasher = password.New(password.Cost{Memory: 64, Passes: 1, Lanes: 1})

// world is a store that counts what it is asked for, and can be down.
type world struct {
	meta.Store
	t     testing.TB
	asked int
	down  bool
}

func (w *world) FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	if w.asked++; w.down {
		return meta.Login{}, fault.Down(context.DeadlineExceeded, "the metadata store")
	}
	return w.Store.FindAccountByKey(ctx, t, slug, hash)
}

func (w *world) FindLogin(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (meta.Login, error) {
	if w.asked++; w.down {
		return meta.Login{}, fault.Down(context.DeadlineExceeded, "the metadata store")
	}
	return w.Store.FindLogin(ctx, t, slug, hash)
}

func by() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// makes is how the accounts of a harness get their secrets.
type makes func(w *world, a meta.Account) string

func withPassword(w *world, a meta.Account) string {
	secret := "password of " + a.Slug + " of " + uuid.NewString()
	hash, err := hasher.Hash(w.t.Context(), a.Tenant, secret)
	w.must(err)
	a.Password = hash
	_, err = w.UpdateAccount(w.t.Context(), by(), a)
	w.must(err)
	return secret
}

func withKey(prefix string) makes {
	return func(w *world, a meta.Account) string {
		secret := prefix + uuid.NewString()
		_, err := w.CreateAccountKey(w.t.Context(), by(), a.Tenant, a.Kind, a.Slug, meta.AccountKey{Name: "k", Hash: sha256.Sum256([]byte(secret))})
		w.must(err)
		return secret
	}
}

func harness(secretOf makes, made func(*world) login.Authenticator) logintest.Open {
	return func(t testing.TB) logintest.Harness {
		store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		w := &world{Store: store, t: t}
		tenants := map[string]tenant.ID{}
		for _, slug := range []string{"acme", "other"} {
			made, err := w.CreateTenant(t.Context(), by(), meta.Tenant{Slug: slug}, tenant.Settings{})
			w.must(err)
			tenants[slug] = made.ID
		}
		account := func(in, slug string) logintest.Account {
			a, err := w.CreateAccount(context.Background(), by(), meta.Account{Tenant: tenants[in], Kind: access.UserKind, Slug: slug, Role: access.Reader})
			w.must(err)
			return logintest.Account{Name: slug, Secret: secretOf(w, a)}
		}
		return logintest.Harness{
			Authenticator: made(w), Tenant: tenants["acme"], Other: tenants["other"],
			Alice: account("acme", "alice"), Bob: account("acme", "bob"), OtherAlice: account("other", "alice"),
			Disable: func(name string) {
				a, err := w.FindAccount(t.Context(), tenants["acme"], access.UserKind, name)
				w.must(err)
				a.Disabled = true
				_, err = w.UpdateAccount(t.Context(), by(), a)
				w.must(err)
			},
			Remake: func(name string) logintest.Account {
				w.must(w.DeleteAccount(t.Context(), by(), tenants["acme"], access.UserKind, name, 0))
				return account("acme", name)
			},
			Break: func(broken bool) { w.down = broken },
			Asked: func() int { return w.asked },
		}
	}
}

func TestU25_LocalAuthenticatorsPassTheSuite(t *testing.T) {
	keys := func(w *world) login.Authenticator { return login.Keys{Accounts: w} }
	passwords := func(w *world) login.Authenticator { return login.Passwords{Accounts: w, Hasher: hasher} }
	both := func(w *world) login.Authenticator {
		return login.Both{Passwords: login.Passwords{Accounts: w, Hasher: hasher}}
	}
	t.Run("keys", func(t *testing.T) { logintest.Run(t, harness(withKey(password.SecretPrefix), keys)) })
	t.Run("keys of one's own", func(t *testing.T) { logintest.Run(t, harness(withKey("seeded-"), keys)) })
	t.Run("passwords", func(t *testing.T) { logintest.Run(t, harness(withPassword, passwords)) })
	t.Run("both, by keys", func(t *testing.T) { logintest.Run(t, harness(withKey("seeded-"), both)) })
	t.Run("both, by passwords", func(t *testing.T) { logintest.Run(t, harness(withPassword, both)) })
}

// TestU25_AHashOfAnotherCostIsMadeAgain at the next login, and revokes nothing.
func TestU25_AHashOfAnotherCostIsMadeAgain(t *testing.T) {
	var w *world
	h := harness(withPassword, func(made *world) login.Authenticator {
		w = made
		return login.Passwords{Accounts: w, Hasher: password.New(password.Cost{Memory: 128, Passes: 1, Lanes: 1})}
	})(t)
	hashOf := func() meta.Account {
		a, err := w.FindAccount(t.Context(), h.Tenant, access.UserKind, "alice")
		w.must(err)
		return a
	}
	before := hashOf()
	for range 2 {
		if _, err := h.Authenticator.Authenticate(t.Context(), login.Attempt{Tenant: h.Tenant, Name: "alice", Secret: h.Alice.Secret}); err != nil {
			t.Fatal(err)
		}
	}
	after := hashOf()
	if after.Password == before.Password || after.Epoch != before.Epoch || after.Version != before.Version {
		t.Errorf("%+v, and was %+v", after, before)
	}
}

// TestU26_NoPasswordIsTried where only keys count, nor for a secret that was proven with the
// present hash.
func TestU26_NoPasswordIsTried(t *testing.T) {
	var both login.Both
	h := harness(withPassword, func(w *world) login.Authenticator {
		both = login.Both{Passwords: login.Passwords{Accounts: w, Hasher: nil}} // a nil Hasher panics
		return both
	})(t)
	a := login.Attempt{Tenant: h.Tenant, Name: "alice", Secret: h.Alice.Secret}
	both.NoPasswords = true
	if _, err := both.Authenticate(t.Context(), a); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("%v", err)
	}
	both.NoPasswords, both.Proven = false, func(login.Attempt, string) bool { return true }
	both.Hasher = hasher // only asked whether the hash is stale
	if id, err := both.Authenticate(t.Context(), a); err != nil || id.Principal.Name != "users/alice" || id.Proof == "" {
		t.Errorf("%+v, %v", id, err)
	}
}
