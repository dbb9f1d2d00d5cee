// Package conns bounds the connections of a process: their number, in total and by
// address, and their time without a request. It closes the least useful connection
// before it refuses a new one.
package conns

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tick       = time.Second
	tellPeriod = 10 * time.Second // between lines of the log about refused connections
	recently   = 5 * time.Second  // for readiness
	minLeft    = 8                // descriptors, without which nothing works
)

// Set are all connections of a process. It is safe for concurrent use.
type Set struct {
	log *slog.Logger

	mu        sync.Mutex
	pools     []*Pool
	onShort   []func() bool
	told      map[countKey]int64
	toldAt    time.Time
	shortAt   atomic.Int64 // nanoseconds, of the last time that no descriptor was left
	countOpen func() (int, error)
	limit     int
}

// NewSet makes a set without pools. limit is how many descriptors the process may
// have.
func NewSet(log *slog.Logger, limit int) *Set {
	return &Set{log: log, limit: limit, countOpen: openDescriptors, told: map[countKey]int64{}}
}

// Pool makes a new pool. Make all pools before the process runs.
func (s *Set) Pool(l Limits) *Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := newPool(s, l)
	s.pools = append(s.pools, p)
	return p
}

// OnShort adds a function that is called when no descriptor is left and no
// connection can be closed; it returns whether it freed one.
func (s *Set) OnShort(f func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onShort = append(s.onShort, f)
}

// Run closes overdue connections, and logs refused ones, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, p := range s.all() {
				p.reap(now)
			}
			s.tell(ctx, now)
		}
	}
}

func (s *Set) all() []*Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools
}

// relieve frees one descriptor, if it can.
func (s *Set) relieve() bool {
	s.shortAt.Store(time.Now().UnixNano())
	for _, p := range s.all() {
		if p.relieve() {
			return true
		}
	}
	return s.relieveOthers()
}

// relieveOthers ends work that holds a connection and needs an orderly end.
func (s *Set) relieveOthers() bool {
	s.mu.Lock()
	others := s.onShort
	s.mu.Unlock()
	for _, f := range others {
		if f() {
			return true
		}
	}
	return false
}

// tell logs the refused connections since the last line, at most once a period.
func (s *Set) tell(ctx context.Context, now time.Time) {
	if now.Sub(s.toldAt) < tellPeriod {
		return
	}
	for _, p := range s.all() {
		open, refused := p.figures()
		for key, n := range refused {
			if more := n - s.told[key]; more > 0 {
				s.told[key], s.toldAt = n, now
				s.log.WarnContext(ctx, "connections were refused", "listener", key.listener, "reason", key.reason, "refused", more, "open", open, "limit", p.Max)
			}
		}
	}
}

// Check is for readiness: it returns how many descriptors and connections are in use,
// and fails if the process cannot accept another connection.
func (s *Set) Check(context.Context) (string, error) {
	var said, connections string
	left := s.limit
	if open, err := s.countOpen(); err == nil {
		left = s.limit - open
		said = fmt.Sprintf("%d of %d file descriptors in use, ", open, s.limit)
	}
	now := time.Now()
	full := false
	for i, p := range s.all() {
		p.mu.Lock()
		if i == 0 {
			connections = fmt.Sprintf("%d of %d connections", len(p.conns), p.Max)
			full = now.Sub(p.full) < recently
		}
		p.mu.Unlock()
	}
	said += connections
	switch {
	case left < minLeft, now.UnixNano()-s.shortAt.Load() < int64(recently):
		return said, fmt.Errorf("%s: file descriptors run out; raise the limit of the process, or lower max_connections", said)
	case full:
		return said, fmt.Errorf("%s: connections are refused, since none can be closed for another; raise max_connections", said)
	}
	return said, nil
}
