// Package audit counts refused logins and calls for the audit log. What is alike
// within a minute is one event, and a tenant gets few a minute: whoever is refused
// chooses how often, and must not fill the table with it.
package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-registry/berth/pkg/boot/logs"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of the events of one process.
const (
	perMinute = 8    // of a tenant; what is beyond is one more, of nobody in particular
	maxKinds  = 4096 // of all tenants between two flushes; what is beyond is not told
	flushes   = 10 * time.Second
)

// Store is the part of meta.Store that keeps events.
type Store interface {
	RecordRefusals(ctx context.Context, refusals map[meta.Refusal]int64) error
}

// Refusals counts what is refused. A nil one counts nothing. Safe for concurrent
// use.
type Refusals struct {
	store Store
	log   *slog.Logger
	now   func() time.Time

	mu     sync.Mutex
	counts map[meta.Refusal]int64
	kinds  map[minute]map[meta.Refusal]bool // told of a tenant's minute, flushed or not
}

type minute struct {
	tenant tenant.ID
	at     time.Time
}

// New makes Refusals on a store.
func New(s Store, log *slog.Logger) *Refusals {
	return &Refusals{store: s, log: log, now: time.Now, counts: map[meta.Refusal]int64{}, kinds: map[minute]map[meta.Refusal]bool{}}
}

// Add counts a refusal; its minute is the present one.
func (r *Refusals) Add(refused meta.Refusal) {
	if r == nil || refused.Tenant == 0 {
		return
	}
	refused.Minute = r.now().UTC().Truncate(time.Minute)
	refused.Actor, refused.Target = logs.Clip(refused.Actor), logs.Clip(refused.Target)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := minute{refused.Tenant, refused.Minute}
	kinds := r.kinds[at]
	if kinds == nil {
		kinds = map[meta.Refusal]bool{}
		r.kinds[at] = kinds
	}
	if !kinds[refused] {
		if len(kinds) >= perMinute {
			refused = meta.Refusal{Tenant: refused.Tenant, Login: refused.Login, Minute: refused.Minute, Actor: "(several)"}
		} else {
			kinds[refused] = true
		}
	}
	if _, counted := r.counts[refused]; counted || len(r.counts) < maxKinds {
		r.counts[refused]++
	}
}

// Flush writes down what was counted. What cannot be written is told in the log.
func (r *Refusals) Flush(ctx context.Context) {
	r.mu.Lock()
	counts := r.counts
	r.counts = map[meta.Refusal]int64{}
	for at := range r.kinds {
		if r.now().Sub(at.at) > 2*time.Minute {
			delete(r.kinds, at)
		}
	}
	r.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	if err := r.store.RecordRefusals(ctx, counts); err != nil {
		r.log.WarnContext(ctx, "refused logins and calls are missing in the audit log", "kinds", len(counts), "error", err)
	}
}

// Run flushes until ctx ends, and then once more.
func (r *Refusals) Run(ctx context.Context) {
	tick := time.NewTicker(flushes)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.Flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushes)
			defer cancel()
			r.Flush(last)
			return
		}
	}
}
