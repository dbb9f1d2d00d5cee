package janitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// ScrubConfig is what a scrubber needs. Leases and Log have defaults.
type ScrubConfig struct {
	Meta  ScrubMeta
	Blobs blob.Opener
	Log   *slog.Logger

	Rate     int64         // bytes that are read in a second; 0 = no bytes, only whether objects exist and their sizes
	Unbound  bool          // read as fast as the store gives, whatever Rate is
	Interval time.Duration // from the end of a round to the next one; 0 = an operator starts each

	// Fetch opens a cached blob at its upstream, which stores it again when it is read to its
	// end. nil = the next pull fetches it.
	Fetch func(ctx context.Context, from meta.CachedCopy, d oci.Digest, size int64) (io.ReadCloser, error)
	// Guard is called before objects are examined; its error prevents that.
	Guard func(context.Context) error
	// Leases let one of many janitors examine suspects; by default this is the only one.
	Leases lease.Leases

	Metrics prometheus.Registerer // may be nil; takes the metrics of one Scrubber only
}

// ScrubMeta is the part of meta.Store that a scrubber needs.
type ScrubMeta interface {
	meta.Scrubs
	ListObjects(ctx context.Context, after blob.Key, limit int) ([]meta.ObjectRow, error)
	FindObject(ctx context.Context, k blob.Key) (meta.ObjectRow, error)
	LocateBlob(ctx context.Context, owner int64, d oci.Digest) (meta.Place, error)
}

// Times of a scrub.
const (
	scrubPoll    = 2 * time.Second // between two looks whether an operator started it
	scrubRetry   = 30 * time.Second
	scrubDue     = time.Minute // between two looks whether a round is due
	scrubHold    = time.Minute // a worker that says nothing for so long has lost the round
	scrubBeat    = 5 * time.Second
	scrubSuspect = 30 * time.Second // between two looks at what reads have noticed
	scrubPage    = 500
)

// errTaken ends a walk whose round was stopped, begun again, or given to another worker.
var errTaken = errors.New("the round is not this worker's")

// Scrubber walks over all live objects and compares them with their blobs. Any number may run:
// the store gives a round to one at a time. Make one with NewScrubber.
type Scrubber struct {
	ScrubConfig
	id       uuid.UUID
	limit    *rate.Limiter
	progress *scrubMetrics
	suspects *exclusiveTask

	asked, noticed time.Time // when a round was last asked for, and suspects were last examined
	lost           blob.Key  // the last lost object that was looked for
}

// NewScrubber makes a scrubber.
func NewScrubber(c ScrubConfig) *Scrubber {
	if c.Leases == nil {
		c.Leases = lease.NewMemory()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	limit := rate.Limit(c.Rate)
	if c.Unbound || c.Rate == 0 { // with 0 only suspects are read
		limit = rate.Inf
	}
	return &Scrubber{
		ScrubConfig: c, id: uuid.New(), limit: rate.NewLimiter(limit, scrubChunk),
		progress: newScrubMetrics(c.Metrics), suspects: newExclusiveTask(c.Leases, "suspects"),
	}
}

// Run works until ctx ends. What fails is logged and tried again.
func (s *Scrubber) Run(ctx context.Context) {
	defer s.suspects.release()
	next := time.NewTimer(scrubPoll)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		wait := scrubPoll
		if err := errors.Join(s.examineNoticed(ctx), s.Step(ctx)); err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "scrub failed and will be retried", "error", err)
			s.progress.failed.Inc()
			wait = scrubRetry
		}
		next.Reset(wait)
	}
}

// Step walks to the end of a round that runs, or is due, unless another worker does.
func (s *Scrubber) Step(ctx context.Context) error {
	now, err := s.Meta.FindScrub(ctx)
	if err != nil || now.State != meta.ScrubRunning && time.Since(s.asked) < scrubDue {
		return err
	}
	s.asked = time.Now()
	at, mine, err := s.Meta.ClaimScrub(ctx, s.id, s.Interval, scrubHold)
	if err != nil || !mine {
		return err
	}
	w := &walk{Scrubber: s, at: at, recorded: time.Now()}
	if err := w.run(ctx); err != nil && !errors.Is(err, errTaken) {
		return err
	}
	return s.count(ctx)
}

// Finish calls Step until no round runs.
func (s *Scrubber) Finish(ctx context.Context) error {
	tick := time.NewTicker(scrubPoll)
	defer tick.Stop()
	for {
		if err := s.Step(ctx); err != nil {
			return err
		}
		now, err := s.Meta.FindScrub(ctx)
		if err != nil || now.State != meta.ScrubRunning {
			return err
		}
		select { // another worker has it
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (s *Scrubber) guard(ctx context.Context) error {
	if s.Guard == nil {
		return nil
	}
	if err := s.Guard(ctx); err != nil {
		return fmt.Errorf("nothing is examined: %w", err)
	}
	return nil
}

// count updates the metrics of what is damaged.
func (s *Scrubber) count(ctx context.Context) error {
	damaged, err := s.Meta.CountDamaged(ctx)
	if err == nil {
		s.progress.setDamaged(damaged)
	}
	return err
}
