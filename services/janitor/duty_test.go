package janitor_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/faketime"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/janitor"
)

// calls are a store in which nothing is to do, and which counts the work that
// goes over all of it.
type calls struct {
	janitor.Meta
	janitor.Blobs
	sweeps, lists atomic.Int64
}

func (c *calls) EvictCached(context.Context, int) (int, error) { return 0, nil }

func (c *calls) ShrinkCached(context.Context, int) (int, error) { return 0, nil }

func (c *calls) TrimEvents(context.Context, int) (int, error)                 { return 0, nil }
func (c *calls) TrimTagHistory(context.Context, int) (int, error)             { return 0, nil }
func (c *calls) EndLostRecorders(context.Context, int) (int, error)           { return 0, nil }
func (c *calls) IndexSearch(context.Context, int, meta.Describe) (int, error) { return 0, nil }
func (c *calls) CountHosted(context.Context, int) (int, error)                { return 0, nil }
func (c *calls) SampleUsage(context.Context, int) (int, error)                { return 0, nil }
func (c *calls) MeasureSharing(context.Context, int) (int, error)             { return 0, nil }
func (c *calls) TrimUsage(context.Context, int) (int, error)                  { return 0, nil }

func (c *calls) TrimTokens(context.Context, int) (int, error) { return 0, nil }

func (c *calls) SettleCharges(context.Context) (int, error) { return 0, nil }

func (c *calls) StoredBytes(context.Context) (int64, error) { return 0, nil }

func (c *calls) SweepUnmarked(context.Context) (int, error) {
	c.sweeps.Add(1)
	return 0, nil
}

func (c *calls) List(context.Context, func(blob.Stored) error) error {
	c.lists.Add(1)
	return nil
}

const (
	day  = 24 * time.Hour
	long = 70*day + 3*time.Hour // both begin within two hours of the start
)

// work lets janitors run, each with its leases, and returns what each did.
func work(t *testing.T, leases ...lease.Leases) []*calls {
	t.Helper()
	done := make([]*calls, len(leases))
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var all sync.WaitGroup
	for i, l := range leases {
		done[i] = &calls{}
		j := janitor.New(janitor.Config{Meta: done[i], Blobs: done[i], Leases: l, Log: slog.New(slog.DiscardHandler), Interval: 2 * long})
		all.Go(func() { j.Run(ctx) })
	}
	all.Wait()
	return done
}

func TestOneJanitorDoesTheWholeStore(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		shared := lease.NewMemory()
		done := work(t, shared, shared, shared)
		var sweeps, lists, sweepers, listers int64
		for _, c := range done {
			sweeps, lists = sweeps+c.sweeps.Load(), lists+c.lists.Load()
			if c.sweeps.Load() == 11 {
				sweepers++
			}
			if c.lists.Load() == 71 {
				listers++
			}
		}
		// One does it every time, and each of the others every fourth time.
		if sweepers != 1 || listers != 1 || sweeps != 11+2*2 || lists != 71+2*17 {
			t.Errorf("%d sweeps, %d reconciliations", sweeps, lists)
		}
		for _, name := range []string{"sweep", "reconcile"} {
			if _, _, ok := shared.Acquire(t.Context(), lease.Key{Kind: "janitor", Name: name}, ""); !ok {
				t.Errorf("the lease of %s outlives its janitor", name)
			}
		}
	})
}

func TestAJanitorAloneNeedsNoLeases(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		done := work(t, nil)[0]
		if done.sweeps.Load() != 11 || done.lists.Load() != 71 {
			t.Errorf("%d sweeps, %d reconciliations", done.sweeps.Load(), done.lists.Load())
		}
	})
}

// denied are leases that no one gets.
type denied struct{}

func (denied) Acquire(context.Context, lease.Key, string) (lease.Lease, string, bool) {
	return nil, "", false
}

// granted are leases that everyone gets, and that are lost at once.
type granted struct{ lost chan struct{} }

func (g granted) Acquire(context.Context, lease.Key, string) (lease.Lease, string, bool) {
	return g, "", true
}
func (g granted) Lost() <-chan struct{} { return g.lost }
func (g granted) Release()              {}

func TestR16_LeasesThatLieToJanitors(t *testing.T) {
	lost := make(chan struct{})
	close(lost)
	for _, c := range []struct {
		what          string
		leases        lease.Leases
		sweeps, lists int64
	}{
		{"never granted", denied{}, 2, 17},
		{"always granted", granted{}, 11, 71},
		{"lost at once", granted{lost}, 11, 71},
	} {
		t.Run(c.what, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				for _, done := range work(t, c.leases, c.leases) {
					if done.sweeps.Load() != c.sweeps || done.lists.Load() != c.lists {
						t.Errorf("%d sweeps, %d reconciliations", done.sweeps.Load(), done.lists.Load())
					}
				}
			})
		})
	}
}
