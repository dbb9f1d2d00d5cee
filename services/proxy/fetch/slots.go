package fetch

import (
	"context"
	"slices"
	"sync"

	"github.com/berth-registry/berth/pkg/tenant"
)

// slots bounds how many flights there are at a time. No tenant has all of them,
// and the next free one goes to whoever has least. A flight may take for ever, if
// its upstream wants that; so each tenant is assured of a few, beyond all.
type slots struct {
	mu      sync.Mutex
	free    int // less than 0 where more are held than there are
	share   int // of a tenant, at most
	assured int // of a tenant, whatever others have
	held    map[tenant.ID]int
	waiting []*ticket // first come first
}

type ticket struct {
	tenant tenant.ID
	given  chan struct{} // closed once the slot is the holder's
}

func newSlots(n int) *slots {
	return &slots{free: n, share: max(n-n/4, 1), assured: n / 16, held: map[tenant.ID]int{}}
}

// acquire waits for a slot, and returns what gives it back.
func (s *slots) acquire(ctx context.Context, t tenant.ID) (func(), error) {
	mine := &ticket{tenant: t, given: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, mine)
	s.hand()
	s.mu.Unlock()
	select {
	case <-mine.given:
		return func() { s.release(t) }, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting, mine)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // it was given meanwhile
		s.release(t)
	}
	return nil, context.Cause(ctx)
}

// length is how many wait now.
func (s *slots) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

func (s *slots) release(t tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[t]--; s.held[t] == 0 {
		delete(s.held, t)
	}
	s.hand()
}

// hand gives free slots to those who wait. The caller holds mu.
func (s *slots) hand() {
	for {
		most := s.assured
		if s.free > 0 {
			most = s.share
		}
		next := -1
		for i, w := range s.waiting {
			if n := s.held[w.tenant]; n < most && (next < 0 || n < s.held[s.waiting[next].tenant]) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		s.free--
		s.held[w.tenant]++
		close(w.given)
	}
}
