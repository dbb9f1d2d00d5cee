package pgmeta

import (
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// TestR50_ThreeNodesAtRandom holds three nodes to what they acknowledge.
func TestR50_ThreeNodesAtRandom(t *testing.T) {
	url := migrated(t)
	t.Cleanup(func() { wantDeadlocks(t, url, 0) })
	var nodes []meta.Store
	for range 3 {
		nodes = append(nodes, open(t, Options{URL: url, Lifetimes: metatest.Hasty}))
	}
	metatest.RunNodes(t, nodes, dice.Count(t, 40_000, 1_000_000))
}
