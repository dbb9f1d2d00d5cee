// Package usage counts what passes through the hosts of tenants in this process, and writes
// it in batches, so that a request itself writes nothing.
package usage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	batchSize = 1000
	lastFlush = 10 * time.Second
)

// Store is the part of meta.UsageHours that Counters need.
type Store interface {
	RecordUsage(ctx context.Context, b meta.UsageBatch) error
}

// Counters are those of all tenants. The nil *Counters count nothing. Safe for concurrent
// use.
type Counters struct {
	store Store
	log   *slog.Logger
	id    uuid.UUID

	mu      sync.RWMutex
	tenants map[tenant.ID]*Counter // all that this process served: a counter is kept, since a request may hold it

	flushing sync.Mutex
	number   int64              // of the last batch
	pending  []meta.TenantUsage // the last batch, while it may not have been written
}

// Counter is that of a tenant; nil where nothing is counted. Its fields are those of
// meta.UsageCount.
type Counter struct {
	Pulls, Pushes, Egress, Received, CacheSaved, SharingSaved atomic.Int64
}

// New makes Counters of this process.
func New(s Store, log *slog.Logger) *Counters {
	return &Counters{store: s, log: log, id: uuid.New(), tenants: map[tenant.ID]*Counter{}}
}

// Of returns the counter of a tenant.
func (c *Counters) Of(id tenant.ID) *Counter {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	found := c.tenants[id]
	c.mu.RUnlock()
	if found != nil {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenants[id] == nil {
		c.tenants[id] = &Counter{}
	}
	return c.tenants[id]
}

// take empties the counter.
func (c *Counter) take() meta.UsageCount {
	return meta.UsageCount{
		Pulls: taken(&c.Pulls), Pushes: taken(&c.Pushes), EgressBytes: taken(&c.Egress), ReceivedBytes: taken(&c.Received),
		CacheSavedBytes: taken(&c.CacheSaved), SharingSavedBytes: taken(&c.SharingSaved),
	}
}

// taken leaves a number below zero there: what a cut connection takes off may have been
// written already, and is then taken off from what comes.
func taken(n *atomic.Int64) int64 {
	is := n.Swap(0)
	if is < 0 {
		n.Add(is)
		return 0
	}
	return is
}

// Flush writes what was counted. A batch that could not be written is written again under
// its number before any other: if it was written nevertheless, it counts once.
func (c *Counters) Flush(ctx context.Context) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	if err := c.writePending(ctx); err != nil {
		return err
	}
	c.mu.RLock()
	all := make(map[tenant.ID]*Counter, len(c.tenants))
	for id, counter := range c.tenants {
		all[id] = counter
	}
	c.mu.RUnlock()
	for id, counter := range all {
		n := counter.take()
		if n == (meta.UsageCount{}) {
			continue
		}
		c.pending = append(c.pending, meta.TenantUsage{Tenant: id, UsageCount: n})
		if len(c.pending) < batchSize {
			continue
		}
		if err := c.writePending(ctx); err != nil {
			return err
		}
	}
	return c.writePending(ctx)
}

// writePending begins a batch where the last one was written.
func (c *Counters) writePending(ctx context.Context) error {
	if len(c.pending) == 0 {
		return nil
	}
	err := c.store.RecordUsage(ctx, meta.UsageBatch{Recorder: c.id, Number: c.number + 1, Tenants: c.pending})
	if err == nil {
		c.number++
		c.pending = nil
	}
	return err
}

// Run flushes until ctx ends, and then once more. By then no request is served.
func (c *Counters) Run(ctx context.Context) {
	tick := time.NewTicker(meta.UsageFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := c.Flush(ctx); err != nil && ctx.Err() == nil {
				c.log.WarnContext(ctx, "usage was not recorded; it is tried again", "error", err)
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			if err := c.Flush(ctx); err != nil {
				c.log.ErrorContext(ctx, "the last usage was not recorded; it is missing from what tenants used", "error", err)
			}
			return
		}
	}
}
