package audit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

	waiting []int64   // the ids of the events that wait
	since   time.Time // when one of them was seen to be gone

	most     int // events that are sent at once
	setAside refusals

	lag                 atomic.Int64 // nanoseconds
	sent, failed, given atomic.Int64
}

// NewDeliverer makes one; Run sends.
func NewDeliverer(store meta.EventSinks, sink Sink, leases lease.Leases, log *slog.Logger) *Deliverer {
	return &Deliverer{store: store, sink: sink, leases: leases, log: log, now: time.Now, poll: pollEvery, most: perBatch}
}

// Lag is how long the oldest event has been waiting, as far as this process knows.
func (d *Deliverer) Lag() time.Duration { return time.Duration(d.lag.Load()) }

// Sent is how many events this process has sent.
func (d *Deliverer) Sent() int64 { return d.sent.Load() }

// Failed is how many attempts failed.
func (d *Deliverer) Failed() int64 { return d.failed.Load() }

// GivenUp is how many events this process has given up, since the sink refused them.
func (d *Deliverer) GivenUp() int64 { return d.given.Load() }

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
	events, err := d.store.PendingEvents(ctx, perBatch+len(d.setAside.events))
	if err != nil {
		return false, err
	}
	waiting := time.Duration(0)
	if len(events) > 0 {
		waiting = max(0, d.now().Sub(events[0].At))
	}
	d.lag.Store(int64(waiting))
	if len(events) == 0 || !d.holdsLease(ctx) && !d.isStuck(events) {
		return false, nil
	}
	more, err := d.sendSome(ctx, events)
	if err != nil && d.held != nil { // the sink of another process may work
		d.held.Release()
		d.held = nil
	}
	return more, err
}

// sendSome sends the first of the events that are not set aside, as many as the sink seems
// to take at once, or looks at those that are.
func (d *Deliverer) sendSome(ctx context.Context, events []meta.PendingEvent) (bool, error) {
	fresh, again := d.setAside.split(events)
	if len(again) > 0 && (len(fresh) == 0 || d.setAside.due(d.now())) {
		return len(fresh) > 0, d.sendAgain(ctx, again)
	}
	if len(fresh) == 0 {
		return false, nil
	}
	lines, n, err := encoded(fresh[:min(len(fresh), d.most)], recordOf)
	if err != nil {
		return false, err
	}
	err = d.sink.Write(ctx, lines)
	switch {
	case err == nil:
		d.setAside.accepted()
		d.most = min(2*d.most, perBatch)
		return len(fresh) > n, d.markSent(ctx, fresh[:n])
	case errors.Is(err, errRefused) && n == 1:
		return true, d.sendShort(ctx, fresh[0])
	}
	d.most = max(n/2, 1) // it may be too much at once, even if the sink does not say so
	if errors.Is(err, errRefused) {
		return true, nil
	}
	return false, err
}

func (d *Deliverer) markSent(ctx context.Context, events []meta.PendingEvent) error {
	d.sent.Add(int64(len(events)))
	return d.store.MarkSent(ctx, events)
}

// isStuck says whether for so long none of the events that wait was sent that no process
// seems to send. Their age tells nothing: after an outage all are old, and one process
// sends them. Nor does the oldest one: the sink may refuse it.
func (d *Deliverer) isStuck(events []meta.PendingEvent) bool {
	now, there := d.now(), make([]int64, len(events))
	for i, e := range events {
		there[i] = e.ID
	}
	gone := func(id int64) bool { return !slices.Contains(there, id) }
	if len(d.waiting) == 0 || slices.ContainsFunc(d.waiting, gone) {
		d.waiting, d.since = there, now
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
