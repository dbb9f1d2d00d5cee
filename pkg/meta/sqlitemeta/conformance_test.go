package sqlitemeta

import (
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
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
	metatest.Run(t, func(t *testing.T) metatest.Harness {
		c := newClock()
		return metatest.Harness{Store: open(t, Options{Now: c.Now}), Advance: c.Advance, Now: c.Now}
	})
}

func TestS40_NounsOfATenantAreLimited(t *testing.T) {
	metatest.RunLimits(t, func(t *testing.T, l meta.Limits) metatest.Harness {
		c := newClock()
		return metatest.Harness{Store: open(t, Options{Now: c.Now, Limits: l}), Advance: c.Advance, Now: c.Now}
	})
}

func TestC14_StagingIsBounded(t *testing.T) {
	metatest.RunBounds(t, func(t *testing.T, staged, sessions int64) metatest.Harness {
		c := newClock()
		return metatest.Harness{Store: open(t, Options{Now: c.Now, MaxStaged: staged, MaxSessions: sessions}), Advance: c.Advance, Now: c.Now}
	})
}
