// Package audit counts refused logins and calls for the audit log. Equal refusals within a
// minute are one event, and a tenant gets few a minute, since a refused caller must not
// fill the table. Refusals of many tenants cannot hide those of another.
package audit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/berth-registry/berth/pkg/boot/logs"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of the events of one process.
const (
	perMinute = 8        // of a tenant; beyond that, one more event without an actor
	assured   = 2        // of a tenant, where others have many
	manyKinds = 4096     // of all tenants between two flushes; beyond it each has what is assured
	maxKinds  = 64 << 10 // the same; the rest is only counted, for the log
	perWrite  = 512      // that are written at once
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
	counts map[meta.Refusal]count
	lost   int64                            // refusals since the last flush that there was no room for
	kinds  map[minute]map[meta.Refusal]bool // told of a tenant's minute, flushed or not
}

// count is how often something was refused, and what its first client said of itself:
// a caller may change that with every call, so it makes no kind.
type count struct {
	times int64
	agent string
}

// several is the actor of refusals beyond those of a minute that have a row each.
const several = "(several)"

type minute struct {
	tenant tenant.ID
	at     time.Time
}

// New makes Refusals on a store.
func New(s Store, log *slog.Logger) *Refusals {
	return &Refusals{store: s, log: log, now: time.Now, counts: map[meta.Refusal]count{}, kinds: map[minute]map[meta.Refusal]bool{}}
}

// Add counts a refusal; its minute is the present one.
func (r *Refusals) Add(refused meta.Refusal) {
	if r == nil {
		return
	}
	agent := refused.UserAgent
	refused.UserAgent = ""
	refused.Minute = r.now().UTC().Truncate(time.Minute)
	refused.Actor, refused.Target = printable(refused.Actor), printable(refused.Target)
	r.mu.Lock()
	defer r.mu.Unlock()
	refused = r.kind(refused)
	count, counted := r.counts[refused]
	switch {
	case counted:
	case len(r.counts) >= maxKinds:
		r.lost++
		return
	case refused.Actor != several:
		count.agent = agent
	}
	count.times++
	r.counts[refused] = count
}

// kind is what the refusal is recorded as: itself, or one of several.
func (r *Refusals) kind(refused meta.Refusal) meta.Refusal {
	at := minute{refused.Tenant, refused.Minute}
	kinds, most := r.kinds[at], perMinute
	if len(r.counts) >= manyKinds {
		most = assured
	}
	switch {
	case kinds[refused]:
	case len(kinds) >= most:
		return meta.Refusal{Tenant: refused.Tenant, Login: refused.Login, Minute: refused.Minute, Actor: several}
	case len(r.counts) < maxKinds:
		if kinds == nil {
			kinds = map[meta.Refusal]bool{}
			r.kinds[at] = kinds
		}
		kinds[refused] = true
	}
	return refused
}

// printable is text that every store and log can keep.
func printable(text string) string {
	return logs.Clip(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "")))
}

// Flush writes down what was counted. What cannot be written is counted in the log.
func (r *Refusals) Flush(ctx context.Context) {
	r.mu.Lock()
	counts, lost := r.counts, r.lost
	r.counts, r.lost = map[meta.Refusal]count{}, 0
	for at := range r.kinds {
		if r.now().Sub(at.at) > 2*time.Minute {
			delete(r.kinds, at)
		}
	}
	r.mu.Unlock()
	if lost > 0 {
		r.log.WarnContext(ctx, "refused logins and calls of too many tenants at once are missing from the audit log", "refusals", lost)
	}
	missing := 0
	var failed error
	for _, piece := range pieces(counts) {
		if err := r.store.RecordRefusals(ctx, piece); err != nil {
			missing, failed = missing+len(piece), err
		}
	}
	if failed != nil {
		r.log.WarnContext(ctx, "refused logins and calls are missing from the audit log", "kinds", missing, "error", failed)
	}
}

// pieces bounds one write, so that refusals of many tenants do not block the store.
func pieces(counts map[meta.Refusal]count) []map[meta.Refusal]int64 {
	var all []map[meta.Refusal]int64
	for refused, n := range counts {
		refused.UserAgent = n.agent
		if len(all) == 0 || len(all[len(all)-1]) >= perWrite {
			all = append(all, make(map[meta.Refusal]int64, perWrite))
		}
		all[len(all)-1][refused] = n.times
	}
	return all
}

// Run flushes until ctx ends, and then once more.
func (r *Refusals) Run(ctx context.Context) { flushEvery(ctx, flushes, r.Flush) }

func flushEvery(ctx context.Context, period time.Duration, flush func(context.Context)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushes)
			defer cancel()
			flush(last)
			return
		}
	}
}
