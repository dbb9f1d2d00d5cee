package pgmeta

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// nobody stands for work of no tenant: the operator's, the janitor's, and what
// finds out whose a request is.
const nobody tenant.ID = 0

// shares says who may use a connection next. No tenant has more than most of
// them, so that another one finds some free; and when all are in use, the next
// one goes to the tenant that has the fewest.
type shares struct {
	most int // of one tenant

	mu      sync.Mutex
	free    int
	held    map[tenant.ID]int
	waiting map[tenant.ID][]chan struct{} // first come, first served
	stats   shareStats
}

// shareStats counts from the start of the process.
type shareStats struct {
	waits   int64         // that did not find a connection free
	refused int64         // of those, that gave up
	waited  time.Duration // together
}

func newShares(connections int) *shares {
	return &shares{
		most: max(1, connections/2), free: connections,
		held: map[tenant.ID]int{}, waiting: map[tenant.ID][]chan struct{}{},
	}
}

// take waits for a share, as long as ctx lasts. Give it back with give.
func (s *shares) take(ctx context.Context, id tenant.ID) error {
	s.mu.Lock()
	if s.free > 0 && s.mayHave(id) {
		s.grant(id)
		s.mu.Unlock()
		return nil
	}
	s.stats.waits++
	turn := make(chan struct{})
	s.waiting[id] = append(s.waiting[id], turn)
	s.mu.Unlock()

	began := time.Now()
	var err error
	select {
	case <-turn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.waited += time.Since(began)
	if err == nil {
		return nil
	}
	at := slices.Index(s.waiting[id], turn)
	if at < 0 {
		return nil // its turn came at the same moment
	}
	s.stats.refused++
	s.leave(id, at)
	return err
}

// give returns a share and passes it on.
func (s *shares) give(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[id]--; s.held[id] == 0 {
		delete(s.held, id)
	}
	for s.free > 0 {
		next, found := s.next()
		if !found {
			return
		}
		turn := s.waiting[next][0]
		s.leave(next, 0)
		s.grant(next)
		close(turn)
	}
}

// next is who waits and has the fewest.
func (s *shares) next() (tenant.ID, bool) {
	var best tenant.ID
	found := false
	for id := range s.waiting {
		if s.mayHave(id) && (!found || s.held[id] < s.held[best]) {
			best, found = id, true
		}
	}
	return best, found
}

func (s *shares) mayHave(id tenant.ID) bool { return id == nobody || s.held[id] < s.most }

func (s *shares) grant(id tenant.ID) {
	s.free--
	s.held[id]++
}

// leave removes one who waits.
func (s *shares) leave(id tenant.ID, at int) {
	if s.waiting[id] = slices.Delete(s.waiting[id], at, at+1); len(s.waiting[id]) == 0 {
		delete(s.waiting, id)
	}
}

func (s *shares) read() shareStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// length is how many wait now.
func (s *shares) length() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, turns := range s.waiting {
		n += len(turns)
	}
	return n
}
