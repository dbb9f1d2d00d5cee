// Package fairgate hands out what a process has a bounded amount of, such as
// connections, transfers or bytes of memory, fairly among its owners: tenants.
package fairgate

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Reasons why Acquire got nothing, besides the end of its context.
var (
	// ErrQueueFull says that the owner already has Options.MaxWaiting waiters.
	ErrQueueFull = errors.New("too many wait already")
	// ErrTooMuch says that the owner may never hold that much at once.
	ErrTooMuch = errors.New("more than one owner may hold")
)

// Options of a Gate. Units are the caller's: connections, bytes.
type Options struct {
	Capacity int64 // that all owners together may hold
	Most     int64 // of one owner, so that another one finds some free; 0 = Capacity
	Assured  int64 // of each owner, whatever the others hold
	Beyond   int64 // that assured shares together may go beyond Capacity

	MaxWaiting int // Acquire calls of one owner that wait at a time; 0 = no bound
}

// Gate counts what owners hold. The zero value of K is the process's own work: it has an
// assured share as others, and Most and MaxWaiting do not apply to it. Safe for concurrent
// use.
type Gate[K comparable] struct {
	opts Options

	mu    sync.Mutex
	used  int64
	held  map[K]int64
	queue map[K][]*waiter // first come, first served
	turn  uint64
	stats Stats
}

// Stats counts from the start of the process, except Waiting.
type Stats struct {
	Waits   int64         // Acquire calls that had to wait
	Refused int64         // calls that got nothing
	Waited  time.Duration // all waits together
	Waiting int           // calls that wait now
}

type waiter struct {
	n    int64
	turn uint64
	done chan error // one value: nil once n is granted
}

// New makes a Gate of which nothing is held.
func New[K comparable](o Options) *Gate[K] {
	if o.Most == 0 {
		o.Most = o.Capacity
	}
	return &Gate[K]{opts: o, held: map[K]int64{}, queue: map[K][]*waiter{}}
}

// TryAcquire takes n if the owner may have it now and does not wait before it
// for something else.
func (g *Gate[K]) TryAcquire(owner K, n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.try(owner, n)
}

func (g *Gate[K]) try(owner K, n int64) bool {
	if len(g.queue[owner]) > 0 || !g.fits(owner, n) {
		return false
	}
	g.grant(owner, n)
	return true
}

// Acquire takes n, and waits for it as long as ctx lasts. Give it back with
// Release.
func (g *Gate[K]) Acquire(ctx context.Context, owner K, n int64) error {
	g.mu.Lock()
	if g.try(owner, n) {
		g.mu.Unlock()
		return nil
	}
	w, err := g.enqueue(owner, n)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	began := time.Now()
	select {
	case err = <-w.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Waited += time.Since(began)
	if err == nil {
		return nil
	}
	if !g.leave(owner, w) { // decided at the same moment
		select {
		case decided := <-w.done:
			if decided == nil {
				return nil
			}
		default: // its decision was an error, which the first select took
		}
	}
	g.stats.Refused++
	g.hand() // those behind it may fit where it did not
	return err
}

// AcquireWithin is Acquire that waits for limit at most.
func (g *Gate[K]) AcquireWithin(ctx context.Context, owner K, n int64, limit time.Duration) error {
	if g.TryAcquire(owner, n) { // without a timer
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return g.Acquire(ctx, owner, n)
}

func (g *Gate[K]) enqueue(owner K, n int64) (*waiter, error) {
	var own K
	switch {
	case n > g.opts.Capacity+g.opts.Beyond, owner != own && n > max(g.opts.Most, g.opts.Assured):
		g.stats.Refused++
		return nil, ErrTooMuch
	case owner != own && g.opts.MaxWaiting > 0 && len(g.queue[owner]) >= g.opts.MaxWaiting:
		g.stats.Refused++
		return nil, ErrQueueFull
	}
	g.turn++
	w := &waiter{n: n, turn: g.turn, done: make(chan error, 1)}
	g.queue[owner] = append(g.queue[owner], w)
	g.stats.Waits++
	g.stats.Waiting++
	return w, nil
}

// Release gives n back and passes it on.
func (g *Gate[K]) Release(owner K, n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= n
	if g.held[owner] -= n; g.held[owner] == 0 {
		delete(g.held, owner)
	}
	g.hand()
}

// Expel ends the waits of all waiting callers now with err, such as when what they wait
// for has failed.
func (g *Gate[K]) Expel(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for owner, ws := range g.queue {
		for _, w := range ws {
			w.done <- err
		}
		g.stats.Waiting -= len(ws)
		delete(g.queue, owner)
	}
}

// Stats are the counts of calls by result.
func (g *Gate[K]) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// Used is what all owners hold.
func (g *Gate[K]) Used() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.used
}

// hand grants what is free: to the owner that holds the least and, of several,
// to the one that waits the longest.
func (g *Gate[K]) hand() {
	for {
		var best K
		var first *waiter
		for owner, ws := range g.queue {
			w := ws[0]
			if !g.fits(owner, w.n) {
				continue
			}
			if first == nil || g.held[owner] < g.held[best] || g.held[owner] == g.held[best] && w.turn < first.turn {
				best, first = owner, w
			}
		}
		if first == nil {
			return
		}
		g.leave(best, first)
		g.grant(best, first.n)
		first.done <- nil
	}
}

func (g *Gate[K]) fits(owner K, n int64) bool {
	var own K
	held := g.held[owner] + n
	if held <= g.opts.Assured && g.used+n <= g.opts.Capacity+g.opts.Beyond {
		return true
	}
	return (owner == own || held <= g.opts.Most) && g.used+n <= g.opts.Capacity
}

func (g *Gate[K]) grant(owner K, n int64) {
	g.used += n
	g.held[owner] += n
}

// leave removes one who waits; false when it does not wait any more.
func (g *Gate[K]) leave(owner K, w *waiter) bool {
	ws := g.queue[owner]
	for i := range ws {
		if ws[i] != w {
			continue
		}
		copy(ws[i:], ws[i+1:])
		ws[len(ws)-1] = nil
		if ws = ws[:len(ws)-1]; len(ws) == 0 {
			delete(g.queue, owner)
		} else {
			g.queue[owner] = ws
		}
		g.stats.Waiting--
		return true
	}
	return false
}
