package cacheroom_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/services/internal/cacheroom"
)

// TestT71_FetchesDoNotMoveTheBound: neither their temporary files nor what they have
// written and not recorded.
func TestT71_FetchesDoNotMoveTheBound(t *testing.T) {
	for _, most := range []int64{0, 100_000} {
		d := &disk{size: 16_000}
		r := roomOf(d, most, 0)
		before := plan(t, r)
		room, err := r.Reserve(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = room.Write(make([]byte, 600)) // never fails
		r.AddInFlight(500)
		d.growing, d.inFlight = 600, 500
		if now := plan(t, r); now.Bound != before.Bound || now.Target != before.Bound {
			t.Errorf("%d of %d, %d before", now.Target, now.Bound, before.Bound)
		}
		d.cached.Store(1000)
		d.growing, d.inFlight = 0, 0
		room.End()
		r.AddInFlight(-500)
		if now := plan(t, r); now.Bound != before.Bound || now.Target != before.Bound {
			t.Errorf("%d of %d, %d before", now.Target, now.Bound, before.Bound)
		}
	}
}

// TestT71_ManyTemporaryFilesTakeRoom: pushes come before them.
func TestT71_ManyTemporaryFilesTakeRoom(t *testing.T) {
	d := &disk{size: 16_000}
	r := roomOf(d, 0, time.Hour)
	d.cached.Store(12_400)
	before := plan(t, r)
	if before.Keep >= 0 {
		t.Errorf("%d of %d are to be kept", before.Keep, before.Bound)
	}
	d.inFlight = before.Aside + 800
	r.AddInFlight(d.inFlight)
	now := plan(t, r)
	if now.Bound != before.Bound || now.Keep < 0 || now.Keep > now.Bound-800 {
		t.Errorf("beside 800 bytes, %d of %d are to be kept", now.Keep, now.Bound)
	}
	if _, err := r.Reserve(t.Context(), 400); err == nil {
		t.Error("temporary files and cached content share a room")
	}
	r.AddInFlight(-800)
	d.inFlight -= 800
	if _, err := r.Reserve(t.Context(), 400); err != nil {
		t.Error(err)
	}
}

// TestT71_TheBoundFallsWithWhatIsStored: pushes take the disk from a full cache.
func TestT71_TheBoundFallsWithWhatIsStored(t *testing.T) {
	d := &disk{size: 16_000}
	r := roomOf(d, 0, time.Hour)
	full := plan(t, r).Bound
	d.cached.Store(full)
	d.pushed = 1600
	p := plan(t, r)
	if want := full - 1400; p.Target != want || p.Bound != full || p.Keep > want || p.Keep < 0 {
		t.Errorf("%d of %d are to be kept, and the bound is %d", p.Keep, p.Target, p.Bound)
	}
	if _, err := r.Reserve(t.Context(), 1); err == nil {
		t.Error("a byte more is stored")
	}
	for _, evicted := range []int64{500, 2000} {
		d.cached.Store(full - evicted)
		for after, r := range map[string]*cacheroom.Room{"eviction": r, "a restart": roomOf(d, 0, 0)} {
			if now := plan(t, r); now.Bound != max(full-evicted, p.Target) || now.Target != p.Target {
				t.Errorf("after %s of %d bytes the bound is %d, of %d", after, evicted, now.Bound, now.Target)
			}
		}
	}
	d.pushed = 0
	if now := plan(t, r).Bound; now != full {
		t.Errorf("without the pushed bytes the bound is %d", now)
	}
	if now := plan(t, roomOf(d, 5000, 0)); now.Bound != 5000 || now.Target != 5000 {
		t.Errorf("a setting below what is stored: %d of %d", now.Target, now.Bound)
	}
}

// fetched is a blob that is being stored.
type fetched struct {
	room       *cacheroom.Reservation
	n, written int64
}

// TestT71_TheCacheIsNeverOverItsBound: pushes, fetches and evictions in any order. What
// uploads leave free stays free of cached content.
func TestT71_TheCacheIsNeverOverItsBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &disk{size: 16_000}
		r := roomOf(d, rapid.SampledFrom([]int64{0, 9000, 100_000}).Draw(rt, "most"), time.Hour)
		var storing []fetched
		number := func(most int64) int64 { return rapid.Int64Range(0, max(most, 0)).Draw(rt, "bytes") }
		free := func() int64 { s, _ := measured{d}.Space(t.Context()); return s.Free - s.Keep } // never fails
		rt.Repeat(map[string]func(*rapid.T){
			"push":   func(*rapid.T) { d.pushed += number(free()) },
			"remove": func(*rapid.T) { d.pushed -= number(d.pushed) },
			"evict":  func(*rapid.T) { n := number(d.cached.Load()); d.cached.Add(-n); d.evicted.Add(n) },
			"delete": func(*rapid.T) { d.evicted.Store(0) },
			"spool":  func(*rapid.T) { n := number(free()); d.inFlight += n; r.AddInFlight(n) },
			"drop":   func(*rapid.T) { n := number(d.inFlight); d.inFlight -= n; r.AddInFlight(-n) },
			"reserve": func(*rapid.T) {
				plan(t, r) // pushes are seen within a second
				n := 1 + number(4000)
				if room, err := r.Reserve(t.Context(), n); err == nil {
					if n > free() {
						rt.Fatalf("%d bytes were reserved where %d are free", n, free())
					}
					storing = append(storing, fetched{room: room, n: n})
				}
			},
			"write": func(*rapid.T) {
				for i := range storing {
					n := number(min(storing[i].n-storing[i].written, free()))
					_, _ = storing[i].room.Write(make([]byte, n)) // never fails
					storing[i].written += n
					d.growing += n
				}
			},
			"store": func(*rapid.T) {
				for _, f := range storing {
					d.growing -= f.written
					d.cached.Add(f.written)
					f.room.End()
				}
				storing = nil
			},
			"": func(*rapid.T) {
				if stored, l := d.cached.Load()+d.evicted.Load()+d.growing, plan(t, r); stored > l.Bound {
					rt.Fatalf("%d bytes are stored, of %+v", stored, l)
				}
			},
		})
	})
}
