package metatest

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
)

// Chains is the part of a store that is about upstreams.
type Chains interface {
	meta.Upstreams
	meta.Groups
	meta.Cache
	meta.CacheCollector
}

// RunChains runs the suites of Chains, which the harness's store implements too.
func RunChains(t *testing.T, open Open) {
	for _, noun := range []struct {
		name string
		test func(t *testing.T, open Open)
	}{
		{"Upstreams", testUpstreams},
		{"Groups", testGroups},
		{"Topology", testTopology},
		{"Cache", testCache},
		{"CachedTags", testCachedTags},
		{"CachedBlobs", testCachedBlobs},
		{"CachePurge", testCachePurge},
		{"CacheCollector", testCacheCollector},
		{"CacheEviction", testCacheEviction},
		{"CacheRaces", testCacheRaces},
	} {
		t.Run(noun.name, func(t *testing.T) {
			t.Parallel() // each test has a store of its own
			noun.test(t, open)
		})
	}
}

// upstreams and groups are the store by its parts.
func (w world) upstreams() meta.Upstreams { return w.Store.(meta.Upstreams) }
func (w world) groups() meta.Groups       { return w.Store.(meta.Groups) }
