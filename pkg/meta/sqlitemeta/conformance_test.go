package sqlitemeta

import (
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta/metatest"
)

// clock is moved by tests only.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func TestConformance(t *testing.T) {
	metatest.Run(t, func(t testing.TB, o metatest.Options) metatest.Harness {
		c := newClock()
		s := open(t, Options{Now: c.Now, Limits: o.Limits, MaxStaged: o.MaxStaged, MaxSessions: o.MaxSessions})
		return metatest.Harness{Store: s, Advance: c.Advance, Now: c.Now}
	})
}
