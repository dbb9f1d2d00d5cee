// Package ttlcache remembers a bounded number of values for a while, and loads
// what it does not know: once, however many ask for it at a time.
package ttlcache

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/fault"
)

// loadTimeout ends a load that outlived the requests waiting for it.
const loadTimeout = 5 * time.Second

// Options says what is remembered. Load, Life, Misses and IsMiss are for Get.
type Options[K comparable, V any] struct {
	Size int              // how many values; those used least recently go first
	Now  func() time.Time // the clock

	Load func(ctx context.Context, key K) (V, error)
	Life time.Duration // of what was loaded, from the start of the load
	// Errors that IsMiss accepts are answers, and are remembered too. They have
	// their own share, so that a scan of unknown keys pushes no value out.
	Misses int
	IsMiss func(err error) bool
}

// Cache is safe for concurrent use.
type Cache[K comparable, V any] struct {
	options Options[K, V]
	memory  atomic.Pointer[memory[K, V]]
}

// memory is what is remembered since the last Clear. A load that began before a
// Clear ends in the old memory, where it is not seen.
type memory[K comparable, V any] struct {
	values *lru.Cache[K, entry[V]]
	misses *lru.Cache[K, entry[error]]
	loads  singleflight.Group
}

type entry[T any] struct {
	value T
	until time.Time
}

// New makes an empty cache.
func New[K comparable, V any](o Options[K, V]) *Cache[K, V] {
	c := &Cache[K, V]{options: o}
	c.Clear()
	return c
}

// Clear forgets everything.
func (c *Cache[K, V]) Clear() {
	c.memory.Store(&memory[K, V]{values: newLRU[K, entry[V]](c.options.Size), misses: newLRU[K, entry[error]](max(c.options.Misses, 1))})
}

func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return c
}

// Put remembers a value for life; nothing if that is not positive.
func (c *Cache[K, V]) Put(key K, value V, life time.Duration) {
	if life > 0 {
		c.memory.Load().values.Add(key, entry[V]{value, c.options.Now().Add(life)})
	}
}

// Find returns a value that is young enough, and loads none.
func (c *Cache[K, V]) Find(key K) (V, bool) {
	e, ok := c.memory.Load().values.Get(key)
	return e.value, ok && c.options.Now().Before(e.until)
}

// Drop forgets a value.
func (c *Cache[K, V]) Drop(key K) { c.memory.Load().values.Remove(key) }

// Len is how many values are remembered, those included that are too old.
func (c *Cache[K, V]) Len() int { return c.memory.Load().values.Len() }

// Get returns what is remembered of the key, or loads it. A load does not end with
// the caller that began it.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	m := c.memory.Load()
	if v, err, ok := m.find(key, c.options.Now()); ok {
		return v, err
	}
	shared := context.WithoutCancel(ctx)
	// Quoted, so that different keys never read alike (contract row B13).
	done := m.loads.DoChan(fmt.Sprintf("%#v", key), func() (any, error) { return c.load(shared, m, key) })
	var none V
	select {
	case <-ctx.Done():
		return none, fault.From(ctx.Err())
	case r := <-done:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(V), nil
	}
}

// find returns the value or the miss that is remembered.
func (m *memory[K, V]) find(key K, now time.Time) (V, error, bool) { //nolint:revive // the error is the answer, and not a failure to find it
	if e, ok := m.values.Get(key); ok && now.Before(e.until) {
		return e.value, nil, true
	}
	var none V
	e, ok := m.misses.Get(key)
	return none, e.value, ok && now.Before(e.until)
}

func (c *Cache[K, V]) load(ctx context.Context, m *memory[K, V], key K) (V, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	now := c.options.Now() // before the load: the value is as old as that
	if v, err, ok := m.find(key, now); ok {
		return v, err // another load ended between the caller's look and this one
	}
	v, err := c.options.Load(ctx, key)
	until := now.Add(c.options.Life)
	switch {
	case err == nil:
		m.misses.Remove(key)
		m.values.Add(key, entry[V]{v, until})
	case c.options.IsMiss != nil && c.options.IsMiss(err):
		m.values.Remove(key)
		m.misses.Add(key, entry[error]{err, until})
	}
	return v, err
}
