// Package cacheroom bounds the disk space that cached content takes: what is fetched is
// stored only in room that was reserved for it, and the janitor is told how much the
// caches may keep.
package cacheroom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/pause"
)

// Config is what a Room needs.
type Config struct {
	Meta interface {
		CacheSize(ctx context.Context) (meta.CacheSize, error)
	}
	// Blobs is the blob store. If it is a blob.Measurer, the caches are bounded by its disk.
	Blobs any
	// Max is the most that the caches may take, in bytes; 0 is a share of the disk, and no
	// bound where the store has no end.
	Max int64
	// Delay is how long evicted bytes stay in the store (meta.Lifetimes.Evicted).
	Delay time.Duration
	Log   *slog.Logger
}

// Room is the room for cached content. There is one per process. It is safe for
// concurrent use. Several processes bound their caches together by what the metadata
// store counts, so that they may exceed the bound by what they are storing.
type Room struct {
	Config
	wanted chan struct{}
	demand demand

	inFlight atomic.Int64 // bytes of temporary files
	written  atomic.Int64 // bytes of blobs that are being stored

	mu       sync.Mutex
	level    Level
	measured time.Time // zero before the first measurement
	running  int64     // reserved, and not released
	stored   int64     // released since the measurement began
	need     int64     // the largest reservation that waits
	counts   Counts
	refused  time.Time // the last time
	warned   time.Time
}

// Counts are statistics of a Room.
type Counts struct {
	Refused int64 // blobs that were not stored for lack of room
	Bytes   int64 // of these blobs
}

// New makes a Room.
func New(c Config) *Room { return &Room{Config: c, wanted: make(chan struct{}, 1)} }

const (
	// freshness is the age up to which a measurement is used again.
	freshness = time.Second
	// recheck is the time between two looks of a reservation that waits.
	recheck = 50 * time.Millisecond
	// patience is how long a reservation waits for the janitor.
	patience = time.Second
	// largest is the divisor for the part of the bound that one blob may take.
	largest = 2
)

// ErrNoRoom is the cause of a reservation that found no room.
var ErrNoRoom = errors.New("the cache has no room")

// Reserve reserves room for n bytes that are about to be stored, and waits a moment for
// the janitor if there is too little. The caller ends the reservation once they are
// committed or given up. Without room the error is fault.Full, and wraps ErrNoRoom.
func (r *Room) Reserve(ctx context.Context, n int64) (*Reservation, error) {
	r.demand.add(n)
	age := freshness
	for end := time.Now().Add(patience); ; age = recheck {
		l, err := r.measure(ctx, age)
		if err != nil {
			return nil, err
		}
		if r.take(n) {
			if r.nearlyFull() {
				r.Want(0)
			}
			return &Reservation{room: r, n: n}, nil
		}
		r.Want(n)
		if n > l.Target/largest || r.Delay > patience || time.Now().After(end) {
			return nil, r.refuse(ctx, n, l)
		}
		if err := pause.Between(ctx, recheck, 2*recheck); err != nil {
			return nil, err
		}
	}
}

// take reserves n bytes if they fit.
func (r *Room) take(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.level.Target/largest || r.used()+n > r.level.Target {
		return false
	}
	r.running += n
	return true
}

// nearlyFull reports whether it is time to evict.
func (r *Room) nearlyFull() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.level.Target
	return t < math.MaxInt64 && r.used()-r.level.Evicted > t-r.free(t)/2
}

// used is the room that is taken or reserved. The caller holds mu.
func (r *Room) used() int64 { return r.held() + r.beside(r.level) }

// held is what cached content takes, or is about to. Staged bytes of this process are
// reserved. The caller holds mu.
func (r *Room) held() int64 {
	return r.level.Cached + r.level.Evicted + max(r.level.Staged, r.running) + r.stored
}

// beside is the room that temporary files take beyond what is set aside for them.
func (r *Room) beside(l Level) int64 { return max(r.inFlight.Load()-l.Aside, 0) }

// AddInFlight counts n more bytes of temporary files that lie on the disk of the blob store,
// or fewer.
func (r *Room) AddInFlight(n int64) { r.inFlight.Add(n) }

// refuse counts and logs a blob that is not stored.
func (r *Room) refuse(ctx context.Context, n int64, l Level) error {
	r.mu.Lock()
	r.counts.Refused++
	r.counts.Bytes += n
	r.refused = time.Now()
	tell := time.Since(r.warned) > time.Minute
	if tell {
		r.warned = time.Now()
	}
	counts := r.counts
	r.mu.Unlock()
	if tell {
		r.Log.WarnContext(ctx, "the cache has no room: blobs are passed through and not stored (cache_max)",
			"level", l.String(), "bytes", n, "refused", counts.Refused, "refused_bytes", counts.Bytes)
	}
	return fault.Wrap(fmt.Errorf("%w: %s, %d more bytes requested", ErrNoRoom, l, n), fault.Full, fault.StorageFull, "the cache has no room for a blob of %d bytes", n)
}

// Counts returns the statistics.
func (r *Room) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}
