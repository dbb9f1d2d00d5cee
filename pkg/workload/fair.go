package workload

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// fairCache remembers values of tenants in a bounded room. When it is full, the tenant that has
// most gives up what it used least recently: so no tenant pushes out what another one uses. It
// is safe for concurrent use.
type fairCache[K comparable, V any] struct {
	room   int
	weight func(V) int

	mu      sync.Mutex
	used    int
	tenants map[string]*holding[K, V] // by slug
}

// holding is what one tenant has.
type holding[K comparable, V any] struct {
	values *simplelru.LRU[K, V]
	used   int
}

func newFairCache[K comparable, V any](room int, weight func(V) int) *fairCache[K, V] {
	return &fairCache[K, V]{room: room, weight: weight, tenants: map[string]*holding[K, V]{}}
}

// get returns the zero value for what is not remembered.
func (c *fairCache[K, V]) get(tenant string, k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok := c.tenants[tenant]; ok {
		return h.values.Get(k)
	}
	var none V
	return none, false
}

// update replaces a value by what change makes of it; of the zero value where it is missing.
func (c *fairCache[K, V]) update(tenant string, k K, change func(V) V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.tenants[tenant]
	if !ok {
		h = c.newHolding()
		c.tenants[tenant] = h
	}
	before, ok := h.values.Peek(k)
	if ok {
		h.values.Remove(k)
	}
	v := change(before)
	h.values.Add(k, v)
	h.used += c.weight(v)
	c.used += c.weight(v)
	for c.used > c.room {
		c.shrink()
	}
	return v
}

func (c *fairCache[K, V]) newHolding() *holding[K, V] {
	h := &holding[K, V]{}
	values, err := simplelru.NewLRU(c.room, func(_ K, v V) {
		h.used -= c.weight(v)
		c.used -= c.weight(v)
	})
	if err != nil {
		panic(fmt.Sprintf("a cache without room: %v", err))
	}
	h.values = values
	return h
}

// shrink takes the oldest value from the tenant that has most.
func (c *fairCache[K, V]) shrink() {
	most := slices.MaxFunc(slices.Collect(maps.Keys(c.tenants)), func(a, b string) int {
		return cmp.Compare(c.tenants[a].used, c.tenants[b].used)
	})
	c.tenants[most].values.RemoveOldest()
	if c.tenants[most].values.Len() == 0 {
		delete(c.tenants, most)
	}
}
