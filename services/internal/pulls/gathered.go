// Package pulls gathers what a process answered to pulls, and writes it in batches, so that
// a pull itself writes nothing.
package pulls

import (
	"context"
	"sync"
)

// Gathered keeps one value for each key until they are written. Safe for concurrent use.
type Gathered[K comparable, V any] struct {
	most  int
	merge func(before, now V) V

	mu     sync.Mutex
	values map[K]V
}

// Gather makes a Gathered of at most so many keys. merge makes one of two values of a key.
func Gather[K comparable, V any](most int, merge func(before, now V) V) *Gathered[K, V] {
	return &Gathered[K, V]{most: most, merge: merge, values: map[K]V{}}
}

// Add reports false if there are too many keys, and leaves the value out.
func (g *Gathered[K, V]) Add(key K, value V) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, known := g.values[key]
	switch {
	case known:
		value = g.merge(before, value)
	case len(g.values) >= g.most:
		return false
	}
	g.values[key] = value
	return true
}

// Flush writes what was gathered before, in batches of at most size, of which the last one
// may be empty. What cannot be written is gathered again; where that is too much, it
// reports false.
func (g *Gathered[K, V]) Flush(ctx context.Context, size int, write func(ctx context.Context, batch []V, last bool) error) (bool, error) {
	g.mu.Lock()
	values := g.values
	g.values = map[K]V{}
	g.mu.Unlock()

	keys := make([]K, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	for {
		n := min(size, len(keys))
		batch := make([]V, 0, n)
		for _, key := range keys[:n] {
			batch = append(batch, values[key])
		}
		last := n == len(keys)
		if err := write(ctx, batch, last); err != nil {
			return g.putBack(keys, values), err
		}
		if keys = keys[n:]; last {
			return true, nil
		}
	}
}

func (g *Gathered[K, V]) putBack(keys []K, values map[K]V) bool {
	all := true
	for _, key := range keys {
		all = g.Add(key, values[key]) && all
	}
	return all
}
