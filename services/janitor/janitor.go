// Package janitor removes expired uploads, unreferenced blobs, condemned objects,
// and the content of deleted repositories, registries and tenants. It runs retention
// policies, indexes what can be searched, and checks the invariants of the stores.
//
// It removes no hosted manifest (protocol section 6) but those that retention policies
// decide on; it removes cached ones that were not pulled for long. Any number of janitors may run: the store gives
// each row to one of them at a time.
package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/policy"
)

// Config is what a janitor needs. Interval, Batch and Leases have defaults.
type Config struct {
	Meta     Meta
	Blobs    Blobs
	Log      *slog.Logger
	Interval time.Duration // between two passes; default 30 s
	Batch    int           // rows per transaction; default 1,000

	// Room bounds the caches of all tenants; nil = nothing does. EvictedDelay is
	// meta.Lifetimes.Evicted. RecordPulls writes what this process knows of pulls from
	// caches, before something is evicted; it may be nil.
	Room         Room
	EvictedDelay time.Duration
	RecordPulls  func(context.Context)

	// Content reads the configs of images, for what the search finds. nil = none are read.
	Content policy.Content

	// Held reports whether a backup needs recently condemned bytes. nil = never.
	Held func() bool

	// Leases let one of many janitors do the whole-store work; by default this is the
	// only janitor.
	Leases lease.Leases

	// Guard is called before each run; its error prevents the run. nil = every run may
	// begin.
	Guard func(context.Context) error

	// CondemnUnknown is the operator's permission to condemn any number of objects
	// without a row.
	CondemnUnknown bool

	Middlewares []kit.Middleware // around every phase, outermost first

	Metrics prometheus.Registerer // may be nil; takes the metrics of one Janitor only
}

// Meta is the part of meta.Store that a janitor needs.
type Meta interface {
	meta.Collector
	meta.CacheCollector
	meta.CacheTrimmer
	EndLostRecorders(ctx context.Context, limit int) (int, error)
	SampleUsage(ctx context.Context, limit int) (int, error)
	MeasureSharing(ctx context.Context, limit int) (int, error)
	TrimUsage(ctx context.Context, limit int) (int, error)
	CountHosted(ctx context.Context, limit int) (int, error)
	IndexSearch(ctx context.Context, limit int, describe meta.Describe) (int, error)
	FindObject(ctx context.Context, k blob.Key) (meta.ObjectRow, error)
}

// Blobs is the part of blob.Store that a janitor needs.
type Blobs interface {
	blob.Deleter
	blob.Lister
}

// Janitor runs the phases. Make one with New.
type Janitor struct {
	cfg        Config
	phases     []phase // of a pass
	collection []phase // of a pass: those that end with condemned objects
	remove     phase   // of a pass: deletes the bytes of condemned objects
	evictions  []phase // expire the least recently pulled content of caches over a limit; their cost is in proportion to these caches
	events     phase   // the last of them
	count      phase
	sweep      phase
	reconcile  phase
	measure    phase
	index      phase
	sample     phase
	sharing    phase
	oldUsage   phase
	progress   *progress
	survey     atomic.Pointer[Survey] // of the last reconciliation; nil before the first
}

// phase is one kind of work: it takes the maximum of rows to process and returns
// how many it did.
type phase = kit.Op[int, int]

// New makes a janitor.
func New(cfg Config) *Janitor {
	if cfg.Interval == 0 {
		cfg.Interval = 30 * time.Second
	}
	if cfg.Batch == 0 {
		cfg.Batch = 1000
	}
	if cfg.Leases == nil {
		cfg.Leases = lease.NewMemory()
	}
	j := &Janitor{cfg: cfg, progress: newProgress(cfg.Metrics)}
	mw := cfg.Middlewares
	// In this order one pass handles garbage completely: blobs released by a purge or
	// an expired manifest are unlinked, dropped, and condemned.
	j.collection = []phase{
		kit.Wrap("janitor.expire", cfg.Meta.ExpireCached, mw...),
		kit.Wrap("janitor.unlink", cfg.Meta.UnlinkBlobs, mw...),
		kit.Wrap("janitor.drop", cfg.Meta.DropBlobs, mw...),
	}
	j.remove = kit.Wrap("janitor.delete", j.deleteCondemned, mw...)
	j.phases = slices.Concat([]phase{
		kit.Wrap("janitor.reap", cfg.Meta.ReapUploads, mw...),
		kit.Wrap("janitor.purge", cfg.Meta.PurgeDeleted, mw...),
	}, j.collection, []phase{j.remove, kit.Wrap("janitor.tally", cfg.Meta.CountHosted, mw...)})
	j.events = kit.Wrap("janitor.events", cfg.Meta.TrimEvents, mw...)
	j.evictions = []phase{
		kit.Wrap("janitor.evict", cfg.Meta.EvictCached, mw...),
		kit.Wrap("janitor.shrink", cfg.Meta.ShrinkCached, mw...),
		kit.Wrap("janitor.tokens", cfg.Meta.TrimTokens, mw...),
		kit.Wrap("janitor.history", cfg.Meta.TrimTagHistory, mw...),
		kit.Wrap("janitor.recorders", cfg.Meta.EndLostRecorders, mw...),
		j.events,
	}
	j.sample = kit.Wrap("janitor.sample", cfg.Meta.SampleUsage, mw...)
	j.sharing = kit.Wrap("janitor.sharing", cfg.Meta.MeasureSharing, mw...)
	j.oldUsage = kit.Wrap("janitor.usage", cfg.Meta.TrimUsage, mw...)
	j.count = kit.Wrap("janitor.count", func(ctx context.Context, _ int) (int, error) { return cfg.Meta.SettleCharges(ctx) }, mw...)
	j.sweep = kit.Wrap("janitor.sweep", j.sweepUnmarked, mw...)
	j.reconcile = kit.Wrap("janitor.reconcile", j.condemnUnknown, mw...)
	j.measure = kit.Wrap("janitor.measure", j.measureStored, mw...)
	j.index = kit.Wrap("janitor.index", func(ctx context.Context, limit int) (int, error) { return cfg.Meta.IndexSearch(ctx, limit, j.describe) }, mw...)
	return j
}

// Bounds of a round, so that a phase whose work never ends does not delay the other
// phases.
const (
	phaseTimeout = 10 * time.Second // after which a phase leaves the rest to the next round
	retryDelay   = 2 * time.Second  // before the next round, if a phase left something
)

// pace is how a phase goes through its work: in parts of a batch, and it rests so many times
// as long as each took.
type pace struct {
	parts, rest int
}

// A gentle pace takes a tenth of a connection, so that pushes meanwhile keep their latency.
var (
	full   = pace{parts: 1}
	gentle = pace{parts: 10, rest: 9}
)

// Run works until ctx ends. It logs a failing phase and tries it again at the next
// pass. Passes, evictions, the index, usage and whole-store tasks do not wait for each other.
func (j *Janitor) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { j.runPasses(ctx) })
	all.Go(func() { j.runEvictions(ctx) })
	all.Go(func() { j.runTrims(ctx) })
	all.Go(func() { j.runIndex(ctx) })
	all.Go(func() { j.runUsage(ctx) })
	all.Go(func() { j.runSweeps(ctx) })
	all.Wait()
}

func (j *Janitor) runPasses(ctx context.Context) {
	next := time.NewTimer(j.cfg.Interval)
	defer next.Stop()
	pace := gentle
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			left := j.runRound(ctx, "pass", j.phases, pace)
			next.Reset(untilNext(left, j.cfg.Interval))
			if pace = gentle; left {
				pace = full // what comes is more than a gentle pace removes
			}
		}
	}
}

func (j *Janitor) runEvictions(ctx context.Context) {
	j.runLogged(ctx, "measurement", j.Measure)
	next := time.NewTimer(evictEvery)
	defer next.Stop()
	evictor := newExclusiveTask(j.cfg.Leases, "evict")
	defer evictor.release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			j.runLogged(ctx, "measurement", j.Measure)
			wait := evictEvery
			if evictor.shouldRun(ctx) {
				wait = untilNext(j.runRound(ctx, "eviction", j.evictions, full), evictEvery)
			}
			next.Reset(wait)
		}
	}
}

func (j *Janitor) runSweeps(ctx context.Context) {
	sweep, reconcile := time.NewTimer(firstSweepDelay()), time.NewTimer(firstSweepDelay())
	defer sweep.Stop()
	defer reconcile.Stop()
	sweeper, reconciler := newExclusiveTask(j.cfg.Leases, "sweep"), newExclusiveTask(j.cfg.Leases, "reconcile")
	defer sweeper.release()
	defer reconciler.release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			if sweeper.shouldRun(ctx) {
				j.runLogged(ctx, "sweep", j.Sweep)
			}
			sweep.Reset(sweepEvery)
		case <-reconcile.C:
			if reconciler.shouldRun(ctx) {
				j.runLogged(ctx, "reconcile", j.Reconcile)
			}
			reconcile.Reset(reconcileEvery)
		}
	}
}

// runRound runs a round, and reports whether a phase has work left.
func (j *Janitor) runRound(ctx context.Context, what string, phases []phase, p pace) bool {
	left := false
	j.runLogged(ctx, what, func(ctx context.Context) error {
		var err error
		left, err = j.round(ctx, phases, p)
		return err
	})
	return left
}

// untilNext is when the next round is due.
func untilNext(left bool, every time.Duration) time.Duration {
	if left {
		return min(retryDelay, every)
	}
	return every
}

func (j *Janitor) runLogged(ctx context.Context, what string, run func(context.Context) error) {
	if err := run(ctx); err != nil && ctx.Err() == nil {
		j.cfg.Log.ErrorContext(ctx, "janitor "+what+" failed and will be retried", "error", err)
	}
}

// Pass does the work that is due, a batch at a time, each phase for a bounded time.
// Its cost is in proportion to the garbage, not to the stored content. A failing
// phase does not stop the others.
func (j *Janitor) Pass(ctx context.Context) error {
	_, err := j.round(ctx, j.phases, full)
	return err
}

// round runs each phase, and reports whether one has work left.
func (j *Janitor) round(ctx context.Context, phases []phase, at pace) (bool, error) {
	if err := j.guard(ctx); err != nil {
		return false, err
	}
	left, errs := false, make([]error, len(phases))
	for i, p := range phases {
		var more bool
		more, errs[i] = j.finish(ctx, p, at)
		left = left || more
	}
	return left, errors.Join(errs...)
}

// guard checks whether a run may begin.
func (j *Janitor) guard(ctx context.Context) error {
	if j.cfg.Guard == nil {
		return nil
	}
	if err := j.cfg.Guard(ctx); err != nil {
		return fmt.Errorf("nothing is removed: %w", err)
	}
	return nil
}

// finish runs a phase, records its progress, and reports whether work is left.
func (j *Janitor) finish(ctx context.Context, p phase, at pace) (bool, error) {
	began := time.Now()
	total, left, err := j.exhaust(ctx, p, at)
	j.progress.observe(task(p), began, total, err)
	if total > 0 {
		j.cfg.Log.InfoContext(ctx, "janitor removed what was due", "phase", p.Name, "rows", total)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", p.Name, err)
	}
	return left, nil
}

// task is the name of the phase in metrics.
func task(p phase) string { return strings.TrimPrefix(p.Name, "janitor.") }

// runOnce runs a phase that does all its work in one call.
func (j *Janitor) runOnce(ctx context.Context, p phase) error {
	began := time.Now()
	n, err := p.Call(ctx, j.cfg.Batch)
	j.progress.observe(task(p), began, n, err)
	return err
}

// exhaust runs a phase until it has no work or no time left. It returns how much it
// did, and whether work may be left.
func (j *Janitor) exhaust(ctx context.Context, p phase, at pace) (int, bool, error) {
	total := 0
	least := 1 // items of a call after which there may be more
	if p.Name == j.events.Name {
		// A call counts the events of all tenants, and a busy tenant writes more
		// meanwhile.
		least = j.cfg.Batch
	}
	for end := time.Now().Add(phaseTimeout); ; {
		if err := ctx.Err(); err != nil {
			return total, false, err
		}
		called := time.Now()
		n, err := p.Call(ctx, max(j.cfg.Batch/at.parts, 1))
		total += n
		if n < least || err != nil {
			return total, false, err
		}
		if err := pause.For(ctx, min(time.Since(called)*time.Duration(at.rest), time.Until(end))); err != nil {
			return total, false, err
		}
		if !time.Now().Before(end) {
			return total, true, nil
		}
	}
}

func (j *Janitor) held() bool { return j.cfg.Held != nil && j.cfg.Held() }

// deleteCondemned is phase D. It holds no transaction during the call to the blob
// store; an object whose deletion fails keeps its row and is tried again.
func (j *Janitor) deleteCondemned(ctx context.Context, limit int) (int, error) {
	if j.held() {
		return 0, nil
	}
	due, err := j.cfg.Meta.ClaimCondemned(ctx, limit)
	if err != nil {
		return 0, err
	}
	end := time.Now().Add(phaseTimeout) // for a slow store; the claims expire
	for i, c := range due {
		if !time.Now().Before(end) {
			return i, nil
		}
		// Check after the claim: an object that was live when the hold began is condemned
		// and claimed only later. The claim expires.
		if j.held() {
			return 0, nil
		}
		err := j.cfg.Blobs.Delete(ctx, c.Key, c.Multipart)
		if errors.Is(err, blob.ErrInUse) {
			continue // the claim expires
		}
		if err != nil {
			j.cfg.Log.WarnContext(ctx, "a condemned object could not be deleted and will be retried", "object", c.Key.String(), "error", err)
			continue
		}
		if err := j.cfg.Meta.ForgetObject(ctx, c.Key); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// Sweep marks unreferenced rows that carry no mark. There should be none (invariant
// I13), so it warns of any. It also corrects the charges of older versions.
func (j *Janitor) Sweep(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	return errors.Join(j.runOnce(ctx, j.sweep), j.runOnce(ctx, j.count))
}

func (j *Janitor) sweepUnmarked(ctx context.Context, _ int) (int, error) {
	n, err := j.cfg.Meta.SweepUnmarked(ctx)
	if n > 0 {
		j.cfg.Log.WarnContext(ctx, "unreferenced rows carried no mark; they are marked now", "rows", n)
	}
	return n, err
}

// Measure updates the metric of stored bytes. It reads a row for each tenant, so it
// does not run when the metric is read.
func (j *Janitor) Measure(ctx context.Context) error { return j.runOnce(ctx, j.measure) }

func (j *Janitor) measureStored(ctx context.Context, _ int) (int, error) {
	bytes, err := j.cfg.Meta.StoredBytes(ctx)
	if err == nil {
		j.progress.stored.Set(float64(bytes))
	}
	return 0, err
}
