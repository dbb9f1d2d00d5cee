package upstream

import (
	"strconv"
	"testing"
)

// Large documents of a few tenants are in no other tenant's way.
func TestS54_LargeDocumentsHaveShares(t *testing.T) {
	l := defaultLimits()
	g := l.gateOfLarge()
	taken := map[string]int{}
	for i := range 20 {
		id := strconv.Itoa(i)
		for g.TryAcquire(id, 1) {
			taken[id]++
		}
	}
	if taken["0"] != l.largeOfOne || taken["3"] != 1 || taken["6"] != 1 || taken["7"] != 0 || g.Used() != int64(l.large) {
		t.Errorf("they have %v", taken)
	}
}
