package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
)

// How a Deliverer works.
const (
	perBatch      = 200 // events that are sent at once
	pollEvery     = time.Second
	mostPause     = time.Minute        // between attempts
	keptFor       = 7 * 24 * time.Hour // events, after the last process that sends them has ended
	keepEvery     = time.Hour
	takeoverAfter = time.Minute // without progress, after which a batch is sent without the lease
)

// sinkKey is the lease of the process that sends.
var sinkKey = lease.Key{Kind: "audit sink"}

// Deliverer sends each event to a sink, at least once, in the order of their ids as far
// as that is known. Of many processes one sends at a time; where two do, an event comes
// twice.
type Deliverer struct {
	store  meta.EventSinks
	sink   Sink
	leases lease.Leases
	log    *slog.Logger
	now    func() time.Time
	poll   time.Duration
	held   lease.Lease // nil: another process sends

	oldest int64     // the event that waits the longest, by its id
	since  time.Time // when it was first seen as that

	lag          atomic.Int64 // nanoseconds
	sent, failed atomic.Int64
}

// NewDeliverer makes one; Run sends.
func NewDeliverer(store meta.EventSinks, sink Sink, leases lease.Leases, log *slog.Logger) *Deliverer {
	return &Deliverer{store: store, sink: sink, leases: leases, log: log, now: time.Now, poll: pollEvery}
}

// Lag is how long the oldest event has been waiting, as far as this process knows.
func (d *Deliverer) Lag() time.Duration { return time.Duration(d.lag.Load()) }

// Sent is how many events this process has sent.
func (d *Deliverer) Sent() int64 { return d.sent.Load() }

// Failed is how many attempts failed.
func (d *Deliverer) Failed() int64 { return d.failed.Load() }

// Keep makes events wait for a sink from now on. Call it before the first event that
// matters; Run calls it again.
func Keep(ctx context.Context, store meta.EventSinks) error { return store.KeepForSink(ctx, keptFor) }

// Run sends until ctx ends.
func (d *Deliverer) Run(ctx context.Context) {
	defer func() {
		if d.held != nil {
			d.held.Release()
		}
	}()
	kept := d.now()
	pause := d.poll
	for {
		more, err := d.send(ctx)
		// Above all while the sink is away: what happens meanwhile must wait for it.
		if now := d.now(); now.Sub(kept) > keepEvery {
			failed := Keep(ctx, d.store)
			if failed == nil {
				kept = now
			}
			err = errors.Join(err, failed)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if d.failed.Add(1); pause == d.poll {
				d.log.WarnContext(ctx, "events do not reach the audit sink; they wait for it in the database", "error", err)
			}
			pause = min(2*pause, mostPause)
		case more:
			continue
		default:
			pause = d.poll
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// send sends one batch; more says that there may be another.
func (d *Deliverer) send(ctx context.Context) (bool, error) {
	events, err := d.store.PendingEvents(ctx, perBatch)
	if err != nil {
		return false, err
	}
	waiting := time.Duration(0)
	if len(events) > 0 {
		waiting = max(0, d.now().Sub(events[0].At))
	}
	d.lag.Store(int64(waiting))
	if len(events) == 0 || !d.holdsLease(ctx) && !d.isStuck(events[0].ID) {
		return false, nil
	}
	lines, err := encoded(events, recordOf)
	if err != nil {
		return false, err
	}
	if err := d.sink.Write(ctx, lines); err != nil {
		return false, err
	}
	d.sent.Add(int64(len(events)))
	return len(events) == perBatch, d.store.MarkSent(ctx, events)
}

// isStuck says whether an event has been the oldest for so long that no process seems to
// send. Its age tells nothing: after an outage all are old, and one process sends them.
func (d *Deliverer) isStuck(oldest int64) bool {
	now := d.now()
	if oldest != d.oldest {
		d.oldest, d.since = oldest, now
	}
	return now.Sub(d.since) >= takeoverAfter
}

// holdsLease says whether this process has the lease.
func (d *Deliverer) holdsLease(ctx context.Context) bool {
	if d.held != nil {
		select {
		case <-d.held.Lost():
			d.held.Release()
			d.held = nil
		default:
			return true
		}
	}
	held, _, ok := d.leases.Acquire(ctx, sinkKey, "")
	if ok {
		d.held = held
	}
	return ok
}
