package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const trustIssuer = "https://token.actions.githubusercontent.com"

func testTrusts(t *testing.T, open Open) {
	t.Run("V40 are kept with all that they say, and have events", func(t *testing.T) {
		w := newWorld(t, open)
		w.addAccount("ci", access.Writer)
		end := w.Now().Add(time.Hour)
		k := meta.Trust{Name: "github", Issuer: trustIssuer, Audiences: []string{"berth", "x"}, Condition: `claims.ref == "it's"`, Note: "builds", ExpiresAt: end}
		made, err := w.Store.CreateTrust(t.Context(), cause(), w.tenant, "ci", k)
		w.must(err)
		plain := w.addTrust("ci", meta.Trust{Name: "gitlab", Issuer: "https://gitlab.com", Condition: "c"})
		if made.Issuer != k.Issuer || !slices.Equal(made.Audiences, k.Audiences) || made.Condition != k.Condition || made.Note != k.Note || !made.ExpiresAt.Equal(end) || !made.CreatedAt.Equal(w.Now()) || !made.UsedAt.IsZero() {
			t.Errorf("made %+v of %+v", made, k)
		}
		if len(plain.Audiences) != 0 || !plain.ExpiresAt.IsZero() {
			t.Errorf("made %+v", plain)
		}
		_, err = w.Store.CreateTrust(t.Context(), cause(), w.tenant, "ci", k)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		w.addUser("alice")
		for _, account := range []string{"none", "alice"} {
			_, err = w.Store.CreateTrust(t.Context(), cause(), w.tenant, account, k)
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
			_, err = w.Store.ListTrusts(t.Context(), w.tenant, account)
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
		}
		w.trusts("ci", "github", "gitlab")
		only := cause()
		only.ValidateOnly = true
		w.must(w.Store.DeleteTrust(t.Context(), only, w.tenant, "ci", "github"))
		w.trusts("ci", "github", "gitlab")
		w.must(w.Store.DeleteTrust(t.Context(), cause(), w.tenant, "ci", "github"))
		w.trusts("ci", "gitlab")
		w.refused(w.Store.DeleteTrust(t.Context(), cause(), w.tenant, "ci", "github"), fault.NotFound, fault.ResourceUnknown)
		var got []string
		for _, e := range w.events("", 4) {
			got = append(got, e.Verb+" "+e.Target)
		}
		want := []string{
			"trust.delete serviceAccounts/ci/trusts/github", "user.create users/alice",
			"trust.create serviceAccounts/ci/trusts/gitlab", "trust.create serviceAccounts/ci/trusts/github",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
	t.Run("V48 are found by their issuer while they count", func(t *testing.T) { testFindTrusts(t, open) })
	t.Run("V48 revoke what was issued by them when they are deleted", func(t *testing.T) {
		w := newWorld(t, open)
		ci := w.addAccount("ci", access.Writer)
		w.addTrust("ci", meta.Trust{Name: "github", Issuer: trustIssuer, Condition: "c"})
		w.addTrust("ci", meta.Trust{Name: "other", Issuer: trustIssuer, Condition: "c"})
		w.must(w.Store.DeleteTrust(t.Context(), cause(), w.tenant, "ci", "github"))
		got, err := w.Store.ListRevocations(t.Context(), time.Minute, 10)
		want := access.Revocation{Tenant: w.tenant, Account: ci.ID, Key: access.TrustKey("github"), Epoch: 1, At: w.Now()}
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("revocations %+v, %v, want %+v", got, err, want)
		}
		w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0))
		w.addAccount("ci", access.Writer)
		w.trusts("ci") // a later account of the name has none
	})
	t.Run("V49 know when they were used last", func(t *testing.T) {
		w := newWorld(t, open)
		ci := w.addAccount("ci", access.Writer)
		w.addTrust("ci", meta.Trust{Name: "github", Issuer: trustIssuer, Condition: "c"})
		w.addKey("github", "secret") // a key of the same name
		at := w.Now().Truncate(time.Minute)
		for _, use := range []meta.KeyUse{
			{Tenant: w.tenant, Account: ci.ID, Key: access.TrustKey("github"), At: at, Address: "192.0.2.1"},
			{Tenant: w.tenant, Account: ci.ID, Key: access.TrustKey("github"), At: at.Add(-time.Minute), Address: "192.0.2.2"}, // of a node that is late
			{Tenant: w.tenant, Account: ci.ID, Key: access.TrustKey("gone"), At: at},
		} {
			w.must(w.Store.RecordKeyUses(t.Context(), []meta.KeyUse{use}))
		}
		keys, err := w.Store.ListAccountKeys(t.Context(), w.tenant, access.ServiceKind, "ci")
		w.must(err)
		if k := w.trusts("ci", "github")[0]; !k.UsedAt.Equal(at) || k.UsedFrom != "192.0.2.1" || len(keys) != 1 || !keys[0].UsedAt.IsZero() {
			t.Errorf("used %+v, keys %+v", k, keys)
		}
	})
}

func testFindTrusts(t *testing.T, open Open) {
	w := newWorld(t, open)
	other, _ := w.addTenant("other", 0)
	ci := w.addAccount("ci", access.Writer)
	w.addAccount("idle", access.Writer)
	w.addTrust("ci", meta.Trust{Name: "b", Issuer: trustIssuer, Audiences: []string{"berth"}, Condition: "two"})
	w.addTrust("ci", meta.Trust{Name: "a", Issuer: trustIssuer, Condition: "one", ExpiresAt: w.Now().Add(time.Hour)})
	w.addTrust("ci", meta.Trust{Name: "c", Issuer: "https://gitlab.com", Condition: "three"})
	found := func(of tenant.ID, account, issuer string, want ...string) []meta.TrustedAccount {
		t.Helper()
		all, err := w.Store.FindTrusts(t.Context(), of, account, issuer)
		w.must(err)
		var got []string
		for _, one := range all {
			got = append(got, one.Trust.Name+" "+one.Condition)
			if p := one.Principal(); one.Account != ci || p.ID != ci.ID || p.Key != access.TrustKey(one.Trust.Name) || p.Role != access.Writer {
				t.Errorf("%+v", one)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s in %s: %q, want %q", account, issuer, got, want)
		}
		return all
	}
	if all := found(w.tenant, "ci", trustIssuer, "a one", "b two"); len(all) == 2 && !slices.Equal(all[1].Audiences, []string{"berth"}) {
		t.Errorf("%+v", all[1])
	}
	found(w.tenant, "ci", "https://gitlab.com", "c three")
	found(w.tenant, "ci", trustIssuer+"/")
	found(w.tenant, "", trustIssuer)
	found(w.tenant, "idle", trustIssuer)
	found(other, "ci", trustIssuer)
	w.Advance(time.Hour)
	found(w.tenant, "ci", trustIssuer, "b two")
	ci.Disabled = true
	_, err := w.Store.UpdateAccount(t.Context(), cause(), ci)
	w.must(err)
	found(w.tenant, "ci", trustIssuer)
	_, err = w.Store.UpdateAccount(t.Context(), cause(), meta.Account{ID: ci.ID, Tenant: w.tenant, Kind: access.ServiceKind, Slug: "ci", Role: access.Writer})
	w.must(err)
	ci, err = w.Store.FindAccount(t.Context(), w.tenant, access.ServiceKind, "ci")
	w.must(err)
	found(w.tenant, "ci", trustIssuer, "b two")
	change := w.acme()
	change.State = tenant.Suspended
	_, err = w.Store.UpdateTenant(t.Context(), cause(), change)
	w.must(err)
	found(w.tenant, "ci", trustIssuer)
}

func (w world) addTrust(account string, k meta.Trust) meta.Trust {
	w.t.Helper()
	made, err := w.Store.CreateTrust(w.t.Context(), cause(), w.tenant, account, k)
	w.must(err)
	return made
}

// trusts fails the test unless the account has these.
func (w world) trusts(account string, want ...string) []meta.Trust {
	w.t.Helper()
	all, err := w.Store.ListTrusts(w.t.Context(), w.tenant, account)
	w.must(err)
	var got []string
	for _, k := range all {
		got = append(got, k.Name)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("%s has the trusts %q, want %q", account, got, want)
	}
	return all
}
