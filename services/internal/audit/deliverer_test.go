package audit

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// clock is one for a database and a Deliverer.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.nanos.Load()).UTC() }

func (c *clock) advance(by time.Duration) time.Time {
	return time.Unix(0, c.nanos.Add(int64(by))).UTC()
}

// delivery is a Deliverer to a webhook that refuses its first requests.
type delivery struct {
	*Deliverer
	clock *clock
	store *sqlitemeta.Store
}

func newDelivery(t *testing.T, hook http.Handler, leases lease.Leases) delivery {
	t.Helper()
	c := &clock{}
	c.advance(20_000 * 24 * time.Hour)
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir(), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	server := httptest.NewServer(hook)
	t.Cleanup(server.Close)
	sink, err := OpenSink(server.URL, "", noAddress)
	if err != nil {
		t.Fatal(err)
	}
	if err := Keep(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	d := NewDeliverer(store, sink, leases, slog.New(slog.DiscardHandler))
	d.now, d.poll = c.now, time.Millisecond
	return delivery{Deliverer: d, clock: c, store: store}
}

func (d delivery) record(t *testing.T) {
	t.Helper()
	if err := d.store.RecordEvent(t.Context(), meta.Cause{Op: uuid.New(), Actor: "operator"}, meta.BackupCreated, "backups/1"); err != nil {
		t.Fatal(err)
	}
}

func (d delivery) pending(t *testing.T, limit int) []meta.PendingEvent {
	t.Helper()
	events, err := d.store.PendingEvents(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TestU85_EventsWaitHoweverLongTheSinkIsAway lets more days pass than events are kept for
// without a process that sends.
func TestU85_EventsWaitHoweverLongTheSinkIsAway(t *testing.T) {
	d := newDelivery(t, &receiver{refuse: 1 << 30}, lease.NewMemory())
	d.record(t)
	begun := d.clock.now()
	d.now = func() time.Time { return d.clock.advance(24 * time.Hour) }
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	await.True(t, 20*time.Second, "days pass", func() bool { return d.clock.now().Sub(begun) > keptFor+5*24*time.Hour })
	cancel()
	running.Wait()
	d.record(t)
	if n := len(d.pending(t, 9)); n != 2 || d.Sent() != 0 {
		t.Errorf("%d events wait and %d were sent, want 2 and none", n, d.Sent())
	}
}

// TestU85_OneSendsABacklog lets a process see old events while another has the lease:
// first that one makes progress, and then none.
func TestU85_OneSendsABacklog(t *testing.T) {
	leases := lease.NewMemory()
	if _, _, ok := leases.Acquire(t.Context(), sinkKey, ""); !ok {
		t.Fatal("the lease is taken")
	}
	d := newDelivery(t, &receiver{}, leases)
	for range perBatch + 5 {
		d.record(t)
	}
	d.clock.advance(24 * time.Hour)
	send := func(want int64) {
		t.Helper()
		if _, err := d.send(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d.Sent() != want {
			t.Fatalf("%d events were sent without the lease, want %d", d.Sent(), want)
		}
	}
	for range 3 {
		send(0)
		if err := d.store.MarkSent(t.Context(), d.pending(t, 1)); err != nil {
			t.Fatal(err)
		}
		d.clock.advance(takeoverAfter)
	}
	send(0)
	d.clock.advance(takeoverAfter - 1)
	send(0)
	d.clock.advance(1)
	send(perBatch)
	send(perBatch) // which was progress
	d.clock.advance(takeoverAfter)
	send(perBatch + 2)
}
