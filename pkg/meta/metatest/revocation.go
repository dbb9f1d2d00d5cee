package metatest

import (
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
	const most = 500
	w := newWorld(t, open)
	w.addAccount("ci", access.Writer)
	other, err := w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "other"}, tenant.Settings{})
	w.must(err)
	_, err = w.Store.CreateAccount(t.Context(), cause(), meta.Account{Tenant: other.ID, Kind: access.ServiceKind, Slug: "ci", Role: access.Writer})
	w.must(err)
	w.must(w.Store.RevokeTokens(t.Context(), cause(), other.ID, access.ServiceKind, "ci"))
	state := func() (int, int64, int64) {
		t.Helper()
		rows, err := w.Store.ListRevocations(t.Context(), access.RevocationLife, 2*most)
		w.must(err)
		own := slices.DeleteFunc(slices.Clone(rows), func(r access.Revocation) bool { return r.Tenant != w.tenant })
		if len(rows) != len(own)+1 {
			t.Fatalf("another tenant has %d revocations, want 1", len(rows)-len(own))
		}
		after, err := w.Store.FindTenant(t.Context(), "other")
		w.must(err)
		return len(own), w.acme().Epoch, after.Epoch
	}
	_, first, firstOther := state()
	revoke := func(i int) {
		name := fmt.Sprintf("k%d", i)
		w.addKey(name, name)
		w.must(w.Store.DeleteAccountKey(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", name))
	}
	for i := range most {
		revoke(i)
	}
	if n, epoch, _ := state(); n != most || epoch != first {
		t.Errorf("%d revocations in epoch %d, want %d in epoch %d", n, epoch, most, first)
	}
	revoke(most)
	if n, epoch, others := state(); n != 0 || epoch != first+1 || others != firstOther {
		t.Errorf("%d revocations in epoch %d, want none in epoch %d; the other tenant's grew by %d", n, epoch, first+1, others-firstOther)
	}
	revoke(most + 1)
	if n, epoch, _ := state(); n != 1 || epoch != first+1 {
		t.Errorf("%d revocations in epoch %d, want 1 in epoch %d", n, epoch, first+1)
	}
}
