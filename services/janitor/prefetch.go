package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// PrefetchConfig is what a Prefetcher needs. Log, Poll and Hold have defaults.
type PrefetchConfig struct {
	Meta meta.PrefetchRuns
	Log  *slog.Logger

	// Fetch stores a reference in the cache of the prefetch's upstream. It returns its digest
	// and how many bytes came, of a failed attempt, too.
	Fetch func(ctx context.Context, p meta.Prefetch, name string, ref oci.Reference) (oci.Digest, int64, error)
	// Tags lists tags of a repository after one, and says whether there may be more.
	Tags func(ctx context.Context, p meta.Prefetch, name, after string) ([]string, bool, error)

	Guard func(context.Context) error // called before each run; its error prevents that; may be nil

	Poll time.Duration // between two looks whether a run is due; default 5 s
	Hold time.Duration // a worker that says nothing for so long has lost its run; default 15 s

	Metrics prometheus.Registerer // may be nil; takes the metrics of one Prefetcher only
}

const (
	prefetchWorkers  = 4                // runs at a time, of a process: each fetches one blob at a time
	prefetchTurn     = 30 * time.Second // after which a run lets another one begin
	prefetchAttempts = 5                // of one reference in a run
	prefetchRetry    = 30 * time.Second // before the second attempt; doubled before each later one
	prefetchWait     = time.Minute      // after failures in a row
	prefetchInARow   = 3
)

// Prefetcher runs prefetches. Any number may work: the store gives a run to one at a time.
// Make one with NewPrefetcher.
type Prefetcher struct {
	PrefetchConfig
	progress *prefetchMetrics
}

// NewPrefetcher makes a Prefetcher.
func NewPrefetcher(c PrefetchConfig) *Prefetcher {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Poll == 0 {
		c.Poll = 5 * time.Second
	}
	if c.Hold == 0 {
		c.Hold = 15 * time.Second
	}
	return &Prefetcher{PrefetchConfig: c, progress: newPrefetchMetrics(c.Metrics)}
}

// Run works until ctx ends. What fails is logged and tried again.
func (p *Prefetcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range prefetchWorkers {
		all.Go(func() { p.work(ctx) })
	}
	all.Wait()
}

func (p *Prefetcher) work(ctx context.Context) {
	next := time.NewTimer(p.Poll)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		worked, err := p.Step(ctx)
		if err != nil && ctx.Err() == nil {
			p.Log.ErrorContext(ctx, "a prefetch failed and will be retried", "error", err)
		}
		wait := p.Poll
		if worked && err == nil {
			wait = 0
		}
		next.Reset(wait)
	}
}

// Step works on a run that is due, to its end or for a turn, and reports whether there was
// one.
func (p *Prefetcher) Step(ctx context.Context) (bool, error) {
	if p.Guard != nil {
		if err := p.Guard(ctx); err != nil {
			return false, fmt.Errorf("nothing is fetched: %w", err)
		}
	}
	worker := uuid.New()
	of, claimed, err := p.Meta.ClaimPrefetch(ctx, worker, p.Hold)
	if err != nil || !claimed {
		return false, err
	}
	w := &prefetchRun{
		Prefetcher: p, prefetch: of, claimed: time.Now(),
		step: meta.PrefetchStep{Tenant: of.Tenant, Prefetch: of.Slug, Number: of.Run.Number, Worker: worker, Hold: p.Hold},
	}
	held, stop := context.WithCancelCause(ctx)
	var holding sync.WaitGroup
	holding.Go(func() { w.hold(held, stop) })
	after, failure, err := w.run(held)
	lost := context.Cause(held)
	stop(nil)
	holding.Wait()
	switch {
	case errors.Is(err, errPrefetched):
		return true, nil
	case errors.Is(err, meta.ErrRunLost), errors.Is(lost, meta.ErrRunLost):
		return true, nil
	case ctx.Err() != nil:
		after, failure, err = 0, "", nil
	case err != nil:
		after, failure = prefetchWait, fault.From(err).Message
		err = fmt.Errorf("prefetch %s: %w", of.Slug, err)
	}
	return true, errors.Join(err, w.release(ctx, after, failure))
}

// errPrefetched ends a run.
var errPrefetched = errors.New("all references are fetched or failed")

// prefetchRun is a worker in its run.
type prefetchRun struct {
	*Prefetcher
	prefetch meta.Prefetch
	claimed  time.Time
	step     meta.PrefetchStep
}

// now is the time by the clock of the store, which set DueAt when the run was claimed.
func (w *prefetchRun) now() time.Time {
	return w.prefetch.Run.DueAt.Add(time.Since(w.claimed) - w.Hold)
}

// hold keeps the run from other workers until ctx ends, and ends the work on a run that is
// lost.
func (w *prefetchRun) hold(ctx context.Context, stop context.CancelCauseFunc) {
	beat := time.NewTicker(w.Hold / 3)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if err := w.Meta.HoldPrefetch(ctx, w.step); errors.Is(err, meta.ErrRunLost) {
				stop(err)
				return
			}
		}
	}
}

// release leaves a run to the next try, also where this process ends.
func (w *prefetchRun) release(ctx context.Context, after time.Duration, failure string) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.Hold)
	defer cancel()
	return w.Meta.ReleasePrefetch(within, w.step, after, failure)
}

// run lists the references, unless they are, and fetches one after the other. Where it stops
// before the end, it returns when the run may be continued, and why not before.
func (w *prefetchRun) run(ctx context.Context) (time.Duration, string, error) {
	if !w.prefetch.Run.Listed {
		if err := w.list(ctx); err != nil {
			return 0, "", err
		}
	}
	inARow := 0
	for end := time.Now().Add(prefetchTurn); time.Now().Before(end); {
		next, found, err := w.Meta.NextPrefetch(ctx, w.step)
		switch {
		case err != nil:
			return 0, "", err
		case !found:
			by := meta.Cause{Op: uuid.New(), Actor: meta.PrefetchTarget(w.prefetch.Slug)}
			if err := w.Meta.EndPrefetch(ctx, by, w.step); err != nil {
				return 0, "", err
			}
			w.progress.runs.Inc()
			return 0, "", errPrefetched
		}
		if wait := w.retryAfter(next); wait > 0 {
			return wait, next.Failure, nil
		}
		a, err := w.fetch(ctx, next)
		if err != nil {
			return 0, "", err
		}
		if a.wait > 0 {
			return a.wait, a.Failure, nil
		}
		if err := w.Meta.RecordPrefetch(ctx, w.step, next.Reference, a.PrefetchResult); err != nil {
			return 0, "", err
		}
		w.progress.observe(a.PrefetchResult)
		if inARow++; !a.strained {
			inARow = 0
		}
		if inARow == prefetchInARow {
			return prefetchWait, a.Failure, nil
		}
	}
	return 0, "", nil
}

// retryAfter is when a reference that failed is to be tried again.
func (w *prefetchRun) retryAfter(r meta.PrefetchReference) time.Duration {
	if r.Attempts == 0 {
		return 0
	}
	return prefetchRetry<<(r.Attempts-1) - w.now().Sub(r.UpdatedAt)
}

// attempt is what came of one.
type attempt struct {
	meta.PrefetchResult
	wait     time.Duration // before the upstream allows more requests; then it counts as none
	strained bool          // the next reference may fail by the same cause
}

// fetch attempts to fetch a reference.
func (w *prefetchRun) fetch(ctx context.Context, r meta.PrefetchReference) (attempt, error) {
	d, n, err := w.reach(ctx, r.Reference)
	if ctx.Err() != nil {
		return attempt{}, context.Cause(ctx)
	}
	a := attempt{PrefetchResult: meta.PrefetchResult{State: meta.PrefetchDone, Digest: d.String(), Bytes: n}}
	if err == nil {
		return a, nil
	}
	of := fault.From(err)
	a.State, a.Failure = meta.PrefetchPending, of.Message
	switch of.Kind {
	case fault.TooMany:
		a.wait = max(of.RetryAfter, prefetchRetry)
		return a, nil
	case fault.NotFound, fault.Denied, fault.Invalid:
		a.State = meta.PrefetchFailed
	case fault.Full: // all of it would come again, and not be kept
		a.State, a.strained = meta.PrefetchFailed, true
	default:
		a.strained = true
	}
	if r.Attempts+1 >= prefetchAttempts {
		a.State = meta.PrefetchFailed
	}
	w.Log.DebugContext(ctx, "a reference was not fetched", "prefetch", w.prefetch.Slug, "reference", r.Reference, "error", err)
	return a, nil
}

// reach fetches a reference, or lists the tags of a pattern that could not be listed before.
func (w *prefetchRun) reach(ctx context.Context, reference string) (oci.Digest, int64, error) {
	name, ref, err := meta.ParsePrefetchReference(reference)
	if err == nil {
		return w.Fetch(ctx, w.prefetch, name, ref)
	}
	matched, err := w.match(ctx, reference)
	if err == nil {
		err = w.add(ctx, matched)
	}
	return "", 0, err
}
