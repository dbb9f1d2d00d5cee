// Package fetch fetches a blob from an upstream once for all callers, and stores it
// while they read it.
//
// The first caller begins a flight, and later ones join it. A flight continues when
// all its callers have left (contract row R43). It ends when the blob is stored,
// could not be fetched, or is neither stored nor read. Each process has at most one
// flight of a blob of a repository. The process with the lease asks the upstream;
// the others read from it.
package fetch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/cacheroom"
	"github.com/berth-registry/berth/services/internal/ingest"
)

// Config is what fetches need. Self, Peer, Room, Dir, Held and Flights are optional.
type Config struct {
	Meta   Meta
	Blobs  Blobs
	Leases lease.Leases
	// Self is the URL of this process for other processes; empty if they cannot reach
	// it.
	Self string
	// Peer reads the blob, from a byte on, from a flight of the process whose Self is at.
	// It fails if that process has no such flight. It may wait for the first byte, but
	// not longer than a second for a connection. Reading ends with ctx.
	Peer func(ctx context.Context, at string, t Target, from int64) (Part, error)
	// Room bounds what is stored.
	Room Room
	Dir  string // of temporary files; "" = the system's
	// Held is called with the number of bytes by which the temporary files grow, or a negative
	// one if they shrink.
	Held    func(n int64)
	Flights int // at a time, besides the assured shares of tenants; 0 = 64
	Log     *slog.Logger
}

// Meta is the part of meta.Store that fetches need.
type Meta interface {
	meta.Uploads
	meta.BlobLinker

	FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error)
}

// Room bounds the disk space that cached content takes.
type Room interface {
	// Reserve reserves room for n bytes until the reservation ends; fault.Full without
	// room.
	Reserve(ctx context.Context, n int64) (*cacheroom.Reservation, error)
}

// Blobs is the part of blob.Store that fetches need.
type Blobs interface {
	blob.Opener
	blob.Appender
}

// Target is a blob to be fetched.
type Target struct {
	Repo   meta.Repo // where it is stored, in a cache registry
	Digest oci.Digest
	Size   int64 // in bytes; -1 = not known
	// Hops is how many registries forwarded the request. Only requests with the same
	// Hops join a flight: a request that a chain led back here must not wait for
	// itself (contract row E12).
	Hops int
}

// Fetches are the flights of a process. It is safe for concurrent use.
type Fetches struct {
	Config
	sessions ingest.Sessions
	slots    *fairgate.Gate[tenant.ID]
	ended    context.Context // by Close, at the latest
	end      context.CancelCauseFunc
	running  sync.WaitGroup
	direct   atomic.Int64 // blobs that were passed through without a file
	pending  atomic.Int64 // bytes that flights are going to write
	left     *inflight.Leftovers
	tidy     *time.Timer // removes what is left and not continued

	mu      sync.Mutex
	closed  bool
	flights map[key]*flight
}

// Slots returns the statistics of flights that waited for a slot.
func (f *Fetches) Slots() fairgate.Stats { return f.slots.Stats() }

// Running is the number of flights now, including waiting ones.
func (f *Fetches) Running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.flights)
}

// key identifies a flight.
type key struct {
	repo   meta.Repo
	digest oci.Digest
	hops   int
}

func (t Target) key() key { return key{t.Repo, t.Digest, t.Hops} }

// defaultFlights is enough for upstreams that throttle each connection, and bounds
// a process's connections and open files.
const defaultFlights = 64

// leftFor is how long what a process before has left of a blob can be continued.
const leftFor = 10 * time.Minute

// errClosing is the cause of flights that Close ends.
var errClosing = fault.New(fault.Unavailable, fault.UnavailableReason, "this process is stopping; retry")

// New makes Fetches; Close ends them.
func New(c Config) *Fetches {
	if c.Flights == 0 {
		c.Flights = defaultFlights
	}
	f := &Fetches{
		Config:   c,
		sessions: ingest.Sessions{Meta: c.Meta, Blobs: c.Blobs, Remove: ingest.RemoverFor(c.Blobs)},
		slots:    newSlots(c.Flights),
		flights:  map[key]*flight{},
	}
	f.ended, f.end = context.WithCancelCause(context.Background())
	f.left = inflight.FindLeftovers(c.Dir, c.Held)
	f.tidy = time.AfterFunc(leftFor, f.left.Remove)
	return f
}

// Open joins the flight of the blob or begins one, and returns once its first bytes
// can be read; the caller closes it. A failure before that is returned, as from the
// source; later, Read of the content fails. The end of ctx ends the reading, not
// the flight.
//
// The caller has already checked whether the blob is stored. Open checks again.
func (f *Fetches) Open(ctx context.Context, t Target, src Source) (blob.Content, error) {
	fl, err := f.join(ctx, t, src)
	if err != nil {
		return nil, err
	}
	c, err := fl.open(ctx)
	fl.leave()
	if errors.Is(err, errNoSpace) || errors.Is(err, syscall.ENOSPC) {
		return f.openDirect(ctx, t, src)
	}
	return c, err
}

// Direct is how many blobs were passed through without a file, since the disk was full.
func (f *Fetches) Direct() int64 { return f.direct.Load() }

// Join is Open for other processes. It returns false unless this process asks the
// upstream: otherwise two processes could read from each other and wait for ever.
func (f *Fetches) Join(ctx context.Context, t Target) (blob.Content, bool) {
	f.mu.Lock()
	fl := f.current(t.key())
	if fl == nil || !fl.leading {
		f.mu.Unlock()
		return nil, false
	}
	fl.callers++
	f.mu.Unlock()
	defer fl.leave()
	c, err := fl.open(ctx)
	return c, err == nil
}

// join finds the flight or begins it; the caller leaves it.
func (f *Fetches) join(ctx context.Context, t Target, src Source) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosing
	}
	fl := f.current(t.key())
	if fl == nil {
		fl = f.begin(ctx, t, src)
	}
	fl.callers++
	return fl, nil
}

// current is the flight to join. It is never a failed flight, even one that is
// still ending: a retry must not get the old failure. The caller holds mu.
func (f *Fetches) current(k key) *flight {
	fl := f.flights[k]
	if fl == nil || fl.failed() {
		return nil
	}
	return fl
}

// Close waits for the flights to end, and begins no new ones. When ctx ends it ends
// them, drops partly stored blobs, and returns the cause. What has arrived of them is left
// to the next process.
func (f *Fetches) Close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.tidy.Stop()
	defer f.left.Keep()
	defer f.end(errClosing)
	landed := make(chan struct{})
	go func() {
		f.running.Wait()
		close(landed)
	}()
	select {
	case <-landed:
		return nil
	case <-ctx.Done():
	}
	f.end(errClosing)
	<-landed
	return errors.Join(errors.New("fetch: stopped before all blobs were stored"), context.Cause(ctx))
}
