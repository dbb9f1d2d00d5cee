package cache

import (
	"context"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/pulls"
)

// flushInterval is the time between writes of pulls and statuses.
const flushInterval = 10 * time.Second

// Run records pulls and the status of upstreams until ctx ends; then it writes the
// rest.
func (c *Caches) Run(ctx context.Context) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushInterval)
			defer cancel()
			c.flush(last)
			return
		}
	}
}

// RecordPulls writes the pulls that were gathered.
func (c *Caches) RecordPulls(ctx context.Context) {
	grain := c.grain()
	_, err := c.pulls.Flush(ctx, batchSize, func(ctx context.Context, batch []meta.CachedPull, _ bool) error {
		for i := range batch {
			batch[i].Grain = grain
		}
		return c.Meta.RecordPulls(ctx, batch)
	})
	if err != nil {
		c.Log.WarnContext(ctx, "pulls of cached content were not recorded; it is tried again, but the content may be removed earlier than it should", "error", err)
	}
}

// grain is how exactly the order of pulls is recorded: the sooner what is not pulled is
// evicted, the finer.
func (c *Caches) grain() time.Duration {
	const parts = 32 // of Config.Turnover
	if c.Turnover == nil {
		return 0
	}
	return max(c.Turnover()/parts, time.Second)
}

func (c *Caches) flush(ctx context.Context) {
	c.RecordPulls(ctx)
	if err := c.statuses.flush(ctx, c.Meta); err != nil {
		c.Log.WarnContext(ctx, "the status of upstreams was not recorded", "error", err)
	}
}

// maxPulls is how many different pulls are gathered. Further ones are not recorded
// and count as not pulled.
const maxPulls = 65536

type pullKey struct {
	repo   meta.Repo
	digest oci.Digest
}

// gatheredPulls are pulls from the cache, which are written in batches.
type gatheredPulls = pulls.Gathered[pullKey, meta.CachedPull]

func newPulls() *gatheredPulls {
	return pulls.Gather[pullKey](maxPulls, func(_, now meta.CachedPull) meta.CachedPull { return now })
}

// batchSize is how many pulls one call of the store takes.
const batchSize = 1000

// statuses gathers which upstreams were asked, to record their status.
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

// statusInterval is the minimum time between writes of an unchanged status.
const statusInterval = time.Minute

func (s *statuses) flush(ctx context.Context, m Meta) error {
	s.mu.Lock()
	asked := s.asked
	s.asked = map[upstreamKey]*upstream.Client{}
	s.mu.Unlock()

	for key, c := range asked {
		now := statusOf(c.Status())
		if before := s.known[key]; same(before, now) && now.SucceededAt.Sub(before.SucceededAt) < statusInterval {
			continue
		}
		if err := m.RecordStatus(ctx, key.tenant, key.id, now); err != nil {
			return err
		}
		s.known[key] = now
	}
	return nil
}

// same compares all fields except those that change with every request.
func same(a, b meta.UpstreamStatus) bool {
	a.SucceededAt, b.SucceededAt = time.Time{}, time.Time{}
	a.RateLimitRemaining, b.RateLimitRemaining = 0, 0
	a.RateLimitReset, b.RateLimitReset = time.Time{}, time.Time{}
	return a == b
}

// statusOf is a client's status as it is stored.
func statusOf(s upstream.Status) meta.UpstreamStatus {
	return meta.UpstreamStatus{
		State: string(s.Health), SucceededAt: s.SucceededAt, FailedAt: s.FailedAt, Failure: s.Failure,
		RateLimit: s.RateLimit.Limit, RateLimitRemaining: s.RateLimit.Remaining, RateLimitWindow: int64(s.RateLimit.Window.Seconds()),
		RateLimitReset:   s.RateLimit.Reset,
		CredentialUnused: s.CredentialUnused,
	}
}
