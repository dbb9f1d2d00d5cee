package metatest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
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
