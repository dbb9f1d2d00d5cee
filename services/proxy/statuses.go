package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
)

// statuses gathers which upstreams were asked, to write down how they do.
type statuses struct {
	mu    sync.Mutex
	asked map[upstreamKey]*upstream.Client
	known map[upstreamKey]meta.UpstreamStatus // as written last
}

type upstreamKey struct {
	tenant tenant.ID
	id     tenant.UpstreamID
}

func newStatuses() *statuses {
	return &statuses{asked: map[upstreamKey]*upstream.Client{}, known: map[upstreamKey]meta.UpstreamStatus{}}
}

// add is called after each time that u was asked.
func (s *statuses) add(u *meta.Upstream, c *upstream.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[upstreamKey{u.Tenant, u.ID}] = c
}

// often is how seldom a status is written that says nothing new but when.
const often = time.Minute

func (s *statuses) flush(ctx context.Context, m Meta) error {
	s.mu.Lock()
	asked := s.asked
	s.asked = map[upstreamKey]*upstream.Client{}
	s.mu.Unlock()

	for key, c := range asked {
		now := statusOf(c.Status())
		if before := s.known[key]; same(before, now) && now.SucceededAt.Sub(before.SucceededAt) < often {
			continue
		}
		if err := m.RecordStatus(ctx, key.tenant, key.id, now); err != nil {
			return err
		}
		s.known[key] = now
	}
	return nil
}

// same leaves out what changes with every request.
func same(a, b meta.UpstreamStatus) bool {
	a.SucceededAt, b.SucceededAt = time.Time{}, time.Time{}
	a.RateLimitRemaining, b.RateLimitRemaining = 0, 0
	return a == b
}

// statusOf is a client's status as it is written down.
func statusOf(s upstream.Status) meta.UpstreamStatus {
	return meta.UpstreamStatus{
		State: string(s.Health), SucceededAt: s.SucceededAt, FailedAt: s.FailedAt, Failure: s.Failure,
		RateLimit: s.RateLimit.Limit, RateLimitRemaining: s.RateLimit.Remaining, RateLimitWindow: int64(s.RateLimit.Window.Seconds()),
	}
}
