package limit

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Slots holds keys to so much at once. Safe for concurrent use.
type Slots struct {
	mu   sync.Mutex
	keys map[Key]*slot
}

type slot struct {
	*semaphore.Weighted
	most  int64
	users int // that hold or wait
}

// NewSlots makes Slots of which nothing is held.
func NewSlots() *Slots { return &Slots{keys: map[Key]*slot{}} }

// Acquire takes one of the key's slots, and waits for it as long as ctx lasts. Call the
// function to give it back. When the number changes, what is held by then does not count.
func (s *Slots) Acquire(ctx context.Context, k Key, most int64) (func(), error) {
	held := s.enter(k, most)
	if err := held.Acquire(ctx, 1); err != nil {
		s.leave(k, held)
		return nil, err
	}
	return func() {
		held.Release(1)
		s.leave(k, held)
	}, nil
}

func (s *Slots) enter(k Key, most int64) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.keys[k]
	if held == nil || held.most != most {
		held = &slot{Weighted: semaphore.NewWeighted(most), most: most}
		s.keys[k] = held
	}
	held.users++
	return held
}

// leave forgets a key that no one holds.
func (s *Slots) leave(k Key, held *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held.users--; held.users == 0 && s.keys[k] == held {
		delete(s.keys, k)
	}
}
