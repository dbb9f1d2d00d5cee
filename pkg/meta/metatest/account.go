package metatest

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testAccounts(t *testing.T, open Open) {
	t.Run("belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, a := cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: "ci", DisplayName: "CI", Role: access.Writer}
		made, err := w.Store.CreateAccount(t.Context(), by, a)
		w.must(err)
		want := a
		want.ID, want.Version, want.CreatedAt, want.UpdatedAt = made.ID, made.Version, w.Now(), w.Now()
		if made != want || made.Version == 0 {
			t.Errorf("made %+v, want %+v", made, want)
		}
		again, err := w.Store.CreateAccount(t.Context(), by, a) // the same request again
		if err != nil || again != made {
			t.Errorf("made again %+v, %v", again, err)
		}
		_, err = w.Store.CreateAccount(t.Context(), cause(), a)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindAccount(t.Context(), other, access.ServiceKind, "ci")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.UpdateAccount(t.Context(), cause(), meta.Account{Tenant: other, Kind: access.ServiceKind, Slug: "ci", Role: access.Admin})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateAccountKey(t.Context(), cause(), other, access.ServiceKind, "ci", meta.AccountKey{Name: "k"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.ListAccountKeys(t.Context(), other, access.ServiceKind, "ci")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteAccount(t.Context(), cause(), other, access.ServiceKind, "ci", 0), fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addAccount(slug, access.Reader)
		}
		w.accounts([]string{"aa", "bb"}, "", 2)
		w.accounts([]string{"cc"}, "bb", 2)
		w.accounts(nil, "cc", 2)
		w.accounts(nil, "", 0)
	})
	t.Run("change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addAccount("ci", access.Reader)
		w.Advance(time.Minute)
		change := before
		change.Role, change.DisplayName, change.Disabled = access.Admin, "CI", true
		after, err := w.Store.UpdateAccount(t.Context(), cause(), change)
		w.must(err)
		if after.Role != access.Admin || after.DisplayName != "CI" || !after.Disabled || after.Version <= before.Version || !after.UpdatedAt.Equal(w.Now()) {
			t.Errorf("updated to %+v", after)
		}
		_, err = w.Store.UpdateAccount(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", before.Version), fault.Conflict, fault.EtagMismatch)
		by := cause()
		w.must(w.Store.DeleteAccount(t.Context(), by, w.tenant, access.ServiceKind, "ci", after.Version))
		w.must(w.Store.DeleteAccount(t.Context(), by, w.tenant, access.ServiceKind, "ci", 0)) // the same request again
		w.refused(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0), fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("have keys", func(t *testing.T) {
		w := newWorld(t, open)
		w.addAccount("ci", access.Writer)
		by, k := cause(), meta.AccountKey{Name: "k2", Hash: sha256.Sum256([]byte("two")), ExpiresAt: w.Now().Add(time.Hour)}
		made, err := w.Store.CreateAccountKey(t.Context(), by, w.tenant, access.ServiceKind, "ci", k)
		w.must(err)
		k.CreatedAt = w.Now()
		if made != k {
			t.Errorf("made %+v, want %+v", made, k)
		}
		again, err := w.Store.CreateAccountKey(t.Context(), by, w.tenant, access.ServiceKind, "ci", k) // the same request again
		if err != nil || again != made {
			t.Errorf("made again %+v, %v", again, err)
		}
		_, err = w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", k)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		forever := w.addKey("k1", "one")
		keys, err := w.Store.ListAccountKeys(t.Context(), w.tenant, access.ServiceKind, "ci")
		if err != nil || !slices.Equal(keys, []meta.AccountKey{forever, made}) {
			t.Errorf("keys %+v, %v", keys, err)
		}
		by = cause()
		w.must(w.Store.DeleteAccountKey(t.Context(), by, w.tenant, access.ServiceKind, "ci", "k1"))
		w.must(w.Store.DeleteAccountKey(t.Context(), by, w.tenant, access.ServiceKind, "ci", "k1")) // the same request again
		w.refused(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", "k1"), fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "nobody", "k2"), fault.NotFound, fault.ResourceUnknown)
		w.unknownKey(w.tenant, "ci", "one")
	})
	t.Run("are found by a key that is good", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		ci := w.addAccount("ci", access.Writer)
		w.addAccount("cd", access.Writer)
		w.addKey("k", "secret")
		for _, c := range []struct {
			t    tenant.ID
			slug string
		}{{w.tenant, "ci"}, {w.tenant, ""}, {0, "ci"}, {0, ""}} {
			if got, err := w.Store.FindAccountByKey(t.Context(), c.t, c.slug, sha256.Sum256([]byte("secret"))); err != nil || got.Account != ci || got.Key != "k" {
				t.Errorf("tenant %d, %q: %+v, %v", c.t, c.slug, got, err)
			}
		}
		w.unknownKey(w.tenant, "ci", "wrong")
		w.unknownKey(w.tenant, "cd", "secret")
		w.unknownKey(w.tenant, "nobody", "secret")
		w.unknownKey(other, "ci", "secret")
		w.unknownKey(other, "", "secret")

		short := meta.AccountKey{Name: "short", Hash: sha256.Sum256([]byte("short")), ExpiresAt: w.Now().Add(time.Hour)}
		_, err := w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", short)
		w.must(err)
		w.Advance(time.Hour - time.Second)
		if _, err := w.Store.FindAccountByKey(t.Context(), w.tenant, "ci", short.Hash); err != nil {
			t.Errorf("before the key expires: %v", err)
		}
		w.Advance(time.Second)
		w.unknownKey(w.tenant, "ci", "short")

		ci.Disabled = true
		_, err = w.Store.UpdateAccount(t.Context(), cause(), ci)
		w.must(err)
		w.unknownKey(w.tenant, "ci", "secret")
	})
	t.Run("are invalid while their tenant is not", func(t *testing.T) {
		w := newWorld(t, open)
		w.addAccount("ci", access.Admin)
		w.addKey("k", "secret")
		change := w.acme()
		change.State = tenant.Suspended
		_, err := w.Store.UpdateTenant(t.Context(), cause(), change)
		w.must(err)
		w.unknownKey(0, "", "secret")
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.unknownKey(0, "", "secret")
		w.purge()
		w.accounts(nil, "", 9)
	})
}

func (w world) addAccount(slug string, role access.Role) meta.Account {
	w.t.Helper()
	a, err := w.Store.CreateAccount(w.t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: slug, Role: role})
	w.must(err)
	return a
}

// addKey gives the account ci a key.
func (w world) addKey(name, secret string) meta.AccountKey {
	w.t.Helper()
	k, err := w.Store.CreateAccountKey(w.t.Context(), cause(), w.tenant, access.ServiceKind, "ci", meta.AccountKey{Name: name, Hash: sha256.Sum256([]byte(secret))})
	w.must(err)
	return k
}

func (w world) unknownKey(t tenant.ID, slug, secret string) {
	w.t.Helper()
	_, err := w.Store.FindAccountByKey(w.t.Context(), t, slug, sha256.Sum256([]byte(secret)))
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
}

// accounts fails the test unless the page of accounts is what it should be.
func (w world) accounts(want []string, after string, size int) {
	w.t.Helper()
	got, err := w.Store.ListAccounts(w.t.Context(), w.tenant, access.ServiceKind, meta.Page{After: after, Size: size})
	w.must(err)
	var slugs []string
	for _, a := range got {
		slugs = append(slugs, a.Slug)
	}
	if !slices.Equal(slugs, want) {
		w.t.Errorf("accounts after %q: %v; want %v", after, slugs, want)
	}
}
