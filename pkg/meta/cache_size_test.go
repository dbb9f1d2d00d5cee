package meta_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TestT44_Shares: what is kept fits, nothing is wasted, and no small cache pays for a
// large one.
func TestT44_Shares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		held := rapid.SliceOfN(rapid.Int64Range(0, 1000), 1, 8).Draw(t, "held")
		keep := rapid.Int64Range(-10, 5000).Draw(t, "keep")
		share := meta.Share(held, keep)
		var kept, all int64
		for _, bytes := range held {
			kept, all = kept+min(bytes, share), all+bytes
		}
		switch {
		case kept > max(keep, 0):
			t.Errorf("a share of %d keeps %d bytes", share, kept)
		case all <= keep && share != math.MaxInt64:
			t.Errorf("all %d bytes fit, and the share is %d", all, share)
		case all > keep && kept+int64(len(held)) <= keep:
			t.Errorf("a share of %d keeps only %d bytes", share, kept)
		}
	})
}

func TestT44_TheFarthestOverItsShareIsTrimmedFirst(t *testing.T) {
	caches := []meta.TenantCache{{Tenant: 1, Bytes: 100}, {Tenant: 2, Bytes: 900}, {Tenant: 3, Bytes: 500}}
	var order []tenant.ID
	var over int64
	n, err := meta.TrimShares(caches, 900, 3, func(t tenant.ID, bytes int64, limit int) (int, error) {
		order, over = append(order, t), over+bytes
		return min(2, limit), nil
	})
	if n != 3 || err != nil || !slices.Equal(order, []tenant.ID{2, 3}) || over != 600 {
		t.Errorf("%d, %v: %v are %d bytes over", n, err, order, over)
	}
	order = nil
	if _, err := meta.TrimShares(caches, 900, 9, func(t tenant.ID, _ int64, _ int) (int, error) {
		order = append(order, t)
		return 1, nil
	}); err != nil || !slices.Equal(order, []tenant.ID{2, 3}) {
		t.Errorf("%v are trimmed, and 1 is below its share: %v", order, err)
	}
	broken := errors.New("broken")
	if n, err := meta.TrimShares(caches, 0, 9, func(tenant.ID, int64, int) (int, error) { return 1, broken }); n != 1 || !errors.Is(err, broken) {
		t.Errorf("%d, %v", n, err)
	}
}
