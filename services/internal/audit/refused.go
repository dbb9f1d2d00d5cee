package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// How a Deliverer treats events that the sink refuses.
const (
	manyRefusals = 8    // one after the other: the sink seems to refuse everything
	maxAside     = 1000 // events; with more, all of them are new ones
	againAfter   = time.Minute
	refusedOften = 5 // times, while the sink took others
)

// refusals are the events that the sink refused, each alone and without its changes. Other
// events are sent before them. One is given up only after the sink refused it refusedOften
// times and took another event before each: a sink that refuses everything is set up
// wrong, and everything waits for it.
type refusals struct {
	events map[int64]int // by id: how often they were refused since others were taken
	inRow  int           // since the sink took an event
	took   bool          // another event, since those were sent last
	last   time.Time     // when they were
}

// split returns the events that are not set aside, and those that are.
func (r *refusals) split(events []meta.PendingEvent) ([]meta.PendingEvent, []meta.PendingEvent) {
	if len(r.events) == 0 {
		return events, nil
	}
	var fresh, again []meta.PendingEvent
	waiting := make(map[int64]int, len(r.events)) // without those that another process sent
	for _, e := range events {
		if times, refused := r.events[e.ID]; refused {
			again = append(again, e)
			waiting[e.ID] = times
		} else {
			fresh = append(fresh, e)
		}
	}
	r.events = waiting
	return fresh, again
}

func (r *refusals) due(now time.Time) bool { return now.Sub(r.last) >= againAfter }

// accepted says that the sink took an event that is not set aside.
func (r *refusals) accepted() { r.inRow, r.took = 0, true }

// add sets an event aside. It returns an error if the sink seems to refuse everything.
func (r *refusals) add(id int64, now time.Time, refused error) error {
	if r.events == nil || len(r.events) >= maxAside {
		r.events = map[int64]int{}
	}
	if len(r.events) == 0 {
		r.last, r.took = now, false
	}
	r.events[id] = 1
	if r.inRow++; r.inRow >= manyRefusals {
		return refused
	}
	return nil
}

// sendShort sends an event that was refused without its changes, which are what may be long,
// or sets it aside.
func (d *Deliverer) sendShort(ctx context.Context, e meta.PendingEvent) error {
	err := d.writeShort(ctx, e)
	switch {
	case err == nil:
		d.setAside.accepted()
		d.log.WarnContext(ctx, "the audit sink refused an event, and took it without its changes", eventAttrs(e)...)
		return d.markSent(ctx, []meta.PendingEvent{e})
	case errors.Is(err, errRefused):
		return d.setAside.add(e.ID, d.now(), fmt.Errorf("%s: %w", recordOf(e).Name, err))
	default:
		return err
	}
}

func (d *Deliverer) writeShort(ctx context.Context, e meta.PendingEvent) error {
	lines, _, err := encoded([]meta.PendingEvent{e}, func(e meta.PendingEvent) Record {
		r := recordOf(e)
		r.Changes, r.ChangesOmitted = nil, true
		return r
	})
	if err != nil {
		return err
	}
	return d.sink.Write(ctx, lines)
}

// sendAgain sends the events that are set aside, each alone, once in againAfter. They stay
// pending until the sink takes them or they are given up.
func (d *Deliverer) sendAgain(ctx context.Context, events []meta.PendingEvent) error {
	if !d.setAside.due(d.now()) {
		return nil
	}
	took := d.setAside.took
	d.setAside.last, d.setAside.took = d.now(), false
	for _, e := range events {
		err := d.writeShort(ctx, e)
		switch {
		case err == nil:
			delete(d.setAside.events, e.ID)
			if err := d.markSent(ctx, []meta.PendingEvent{e}); err != nil {
				return err
			}
			continue
		case !errors.Is(err, errRefused):
			return err
		case took:
			d.setAside.events[e.ID]++
		}
		if d.setAside.events[e.ID] < refusedOften {
			continue
		}
		d.given.Add(1)
		d.log.ErrorContext(ctx, "an event is missing from the audit sink, which refuses it and takes others; it is in the database",
			append(eventAttrs(e), slog.Any("error", err))...)
		delete(d.setAside.events, e.ID)
		if err := d.store.MarkSent(ctx, []meta.PendingEvent{e}); err != nil {
			return err
		}
	}
	return nil
}

// eventAttrs are what the log says of an event, enough to find it and to know it without
// the database.
func eventAttrs(e meta.PendingEvent) []any {
	r := recordOf(e)
	return []any{"event", r.Name, "time", r.Time, "actor", r.Actor, "verb", r.Verb, "target", r.Target, "address", r.Address, "times", r.Times}
}
