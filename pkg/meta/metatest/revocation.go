package metatest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testRevocationBounds: what is read of revocations is bounded, the newest come
// first. Those that no longer concern a token are removed.
func testRevocationBounds(t *testing.T, open Open) {
	w := newWorld(t, open)
	one := w.addAccount("ci", access.Writer)
	revokeKeys := func(n int) {
		for i := range n {
			w.Advance(time.Second)
			w.addKey(fmt.Sprintf("k%d", i), fmt.Sprint("secret", i, w.Now()))
			w.must(w.Store.DeleteAccountKey(t.Context(), cause(), one.Tenant, access.ServiceKind, "ci", fmt.Sprintf("k%d", i)))
		}
	}
	listed := func(most int) []string {
		t.Helper()
		rows, err := w.Store.ListRevocations(t.Context(), access.RevocationLife, most)
		w.must(err)
		names := []string{}
		for _, r := range rows {
			names = append(names, r.Key)
		}
		return names
	}
	revokeKeys(5)
	for most, want := range map[int][]string{9: {"k4", "k3", "k2", "k1", "k0"}, 3: {"k4", "k3", "k2"}} {
		if got := listed(most); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", most, got, want)
		}
	}
	w.Advance(2*access.RevocationLife + time.Second)
	revokeKeys(2) // the rows of k0 and k1 count again
	for _, want := range []int{3, 0} {
		n, err := w.Store.TrimTokens(t.Context(), 2)
		w.must(err)
		if n != want {
			t.Errorf("%d are removed, want %d", n, want)
		}
	}
	if got := listed(9); !slices.Equal(got, []string{"k1", "k0"}) {
		t.Errorf("left are %v", got)
	}
}

// testManyRevocations makes and deletes keys of one tenant in a loop: its revocations stay
// few, all of its tokens end by its epoch, and another tenant notices nothing.
func testManyRevocations(t *testing.T, open Open) {
	const most, mostOfOne = 500, 50
	w := newWorld(t, open)
	for i := range most/mostOfOne + 2 {
		_, err := w.Store.CreateAccount(t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: fmt.Sprintf("c%d", i), Role: access.Writer})
		w.must(err)
	}
	other, err := w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "other"}, tenant.Settings{})
	w.must(err)
	_, err = w.Store.CreateAccount(t.Context(), cause(), meta.Account{Tenant: other.ID, Kind: access.ServiceKind, Slug: "ci", Role: access.Writer})
	w.must(err)
	w.must(w.Store.RevokeTokens(t.Context(), cause(), other.ID, access.ServiceKind, "ci"))
	state := func() ([]access.Revocation, int64, int64) {
		t.Helper()
		rows, err := w.Store.ListRevocations(t.Context(), access.RevocationLife, 2*most)
		w.must(err)
		own := slices.DeleteFunc(slices.Clone(rows), func(r access.Revocation) bool { return r.Tenant != w.tenant })
		if len(rows) != len(own)+1 {
			t.Fatalf("another tenant has %d revocations, want 1", len(rows)-len(own))
		}
		after, err := w.Store.FindTenant(t.Context(), "other")
		w.must(err)
		return own, w.acme().Epoch, after.Epoch
	}
	_, first, firstOther := state()
	made := 0
	revoke := func(account int) {
		t.Helper()
		made++
		slug, name := fmt.Sprintf("c%d", account), fmt.Sprintf("k%d", made)
		_, err := w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, slug, meta.AccountKey{Name: name, Hash: sha256.Sum256([]byte(name))})
		w.must(err)
		w.must(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, slug, name))
	}
	for i := range most {
		revoke(i / mostOfOne)
	}
	if own, epoch, _ := state(); len(own) != most || epoch != first {
		t.Errorf("%d revocations in epoch %d, want %d in epoch %d", len(own), epoch, most, first)
	}
	revoke(0) // one account's become one, of all its tokens
	own, epoch, _ := state()
	if all := slices.IndexFunc(own, func(r access.Revocation) bool { return r.Key == "" }); len(own) != most-mostOfOne+1 || epoch != first || all < 0 {
		t.Errorf("%d revocations in epoch %d, want %d in epoch %d, one of them of a whole account", len(own), epoch, most-mostOfOne+1, first)
	}
	for range mostOfOne {
		revoke(most / mostOfOne)
	}
	if own, epoch, others := state(); len(own) != 0 || epoch != first+1 || others != firstOther {
		t.Errorf("%d revocations in epoch %d, want none in epoch %d; the other tenant's grew by %d", len(own), epoch, first+1, others-firstOther)
	}
	revoke(most/mostOfOne + 1)
	if own, epoch, _ := state(); len(own) != 1 || epoch != first+1 {
		t.Errorf("%d revocations in epoch %d, want 1 in epoch %d", len(own), epoch, first+1)
	}
}
