package upstream

import lru "github.com/hashicorp/golang-lru/v2"

// newLRU makes a cache of at most size entries, which are at least 1. evicted is called for
// each entry that is dropped; it may be nil.
func newLRU[K comparable, V any](size int, evicted func(K, V)) *lru.Cache[K, V] {
	cache, err := lru.NewWithEvict(size, evicted)
	if err != nil {
		panic("upstream: " + err.Error()) // only a size below 1 is an error, and all sizes are constants
	}
	return cache
}
