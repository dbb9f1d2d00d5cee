package cacheroom_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/cacheroom"
)

// disk is what the stores say.
type disk struct {
	cached, evicted atomic.Int64
	size            int64 // of the disk; 0 = it has no end
	// What else lies there: pushes, temporary files, and blobs that no row counts yet.
	pushed, inFlight, growing int64
}

func (d *disk) CacheSize(context.Context) (meta.CacheSize, error) {
	return meta.CacheSize{Cached: d.cached.Load(), Evicted: d.evicted.Load()}, nil
}

// measured is a disk with an end.
type measured struct{ *disk }

func (d measured) Space(context.Context) (blob.Space, error) {
	return blob.Space{Size: d.size, Free: d.size - d.cached.Load() - d.evicted.Load() - d.pushed - d.inFlight - d.growing, Keep: d.size / 20}, nil
}

func roomOf(d *disk, most int64, delay time.Duration) *cacheroom.Room {
	c := cacheroom.Config{Meta: d, Max: most, Delay: delay, Log: slog.New(slog.DiscardHandler)}
	if d.size > 0 {
		c.Blobs = measured{d}
	}
	return cacheroom.New(c)
}

func plan(t *testing.T, r *cacheroom.Room) cacheroom.Plan {
	t.Helper()
	p, err := r.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestT40_TheBound(t *testing.T) {
	for what, c := range map[string]struct {
		disk *disk
		most int64
		want int64
	}{
		"a bucket":                {disk: &disk{}, want: math.MaxInt64},
		"a bucket with a setting": {disk: &disk{}, most: 1000, want: 1000},
		"a share of the disk":     {disk: &disk{size: 1600}, want: 1520 / 16 * 14},
		"a setting":               {disk: &disk{size: 1600}, most: 1000, want: 1000},
		"a setting that the disk is too small for": {disk: &disk{size: 1600}, most: 5000, want: 1520 / 16 * 15},
	} {
		r := roomOf(c.disk, c.most, 0)
		if got := plan(t, r).Bound; got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
}

func TestT40_EvictionBeginsBeforeItIsFull(t *testing.T) {
	d := &disk{}
	r := roomOf(d, 1600, 0)
	for cached, want := range map[int64]int64{0: -1, 1500: -1, 1550: -1, 1551: 1500, 1700: 1500} {
		d.cached.Store(cached)
		if got := plan(t, r).Keep; got != want {
			t.Errorf("of %d bytes %d are to be kept, want %d", cached, got, want)
		}
	}
	d.cached.Store(1400)
	r.Want(300) // which does not fit
	if got := plan(t, r).Keep; got != 1300 {
		t.Errorf("for 300 bytes %d are to be kept", got)
	}
	if got := plan(t, r).Keep; got != -1 {
		t.Errorf("it was asked once, and %d are to be kept", got)
	}
	select {
	case <-r.Wanted():
	default:
		t.Error("the janitor was not woken")
	}
}

// TestT40_ReservationsNeverExceedTheBound: many store at once, and commit in any order.
func TestT40_ReservationsNeverExceedTheBound(t *testing.T) {
	d := &disk{}
	r := roomOf(d, 10_000, time.Hour)
	var running sync.WaitGroup
	var held, refused atomic.Int64
	for range 50 {
		running.Go(func() {
			room, err := r.Reserve(t.Context(), 700)
			if err != nil {
				if !errors.Is(err, cacheroom.ErrNoRoom) || fault.KindOf(err) != fault.Full {
					t.Error(err)
				}
				refused.Add(1)
				return
			}
			if n := held.Add(700); n > 10_000 {
				t.Errorf("%d bytes are stored", n)
			}
			d.cached.Add(700)
			room.End()
			room.End() // counts once
		})
	}
	running.Wait()
	if n := refused.Load(); n < 50-14 || r.Counts().Refused != n {
		t.Errorf("%d were refused, counted %+v", n, r.Counts())
	}
	d.cached.Store(0)
	plan(t, r)
	if _, err := r.Reserve(t.Context(), 5001); err == nil {
		t.Error("one blob may take more than half")
	}
	if room, err := r.Reserve(t.Context(), 5000); err != nil {
		t.Error(err)
	} else {
		room.End()
	}
}

// TestT40_AReservationWaitsForTheJanitor makes room while one waits.
func TestT40_AReservationWaitsForTheJanitor(t *testing.T) {
	d := &disk{}
	d.cached.Store(1000)
	r := roomOf(d, 1000, 0)
	go func() {
		<-r.Wanted()
		d.cached.Store(500)
	}()
	room, err := r.Reserve(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	room.End()
}
