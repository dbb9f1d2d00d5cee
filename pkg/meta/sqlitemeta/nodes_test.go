package sqlitemeta

import (
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// TestR50_OneNodeAtRandom holds a node to what it acknowledges.
func TestR50_OneNodeAtRandom(t *testing.T) {
	node := open(t, Options{Lifetimes: metatest.Hasty})
	metatest.RunNodes(t, []meta.Store{node}, dice.Count(t, 10_000, 100_000))
}
