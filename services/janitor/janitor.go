// Package janitor removes what may go: expired uploads, blobs nothing names,
// condemned objects, and the content of deleted repositories, registries and
// tenants. It also checks that everything that must be there still is.
//
// It never removes a hosted manifest (protocol section 6), and cached ones when
// they were not pulled for long. Any number of
// janitors may run: the store hands each row to one of them at a time.
package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/kit"
)

// Config is what a janitor needs. Interval, Batch and Leases have defaults.
type Config struct {
	Meta     Meta
	Blobs    Blobs
	Log      *slog.Logger
	Interval time.Duration // between two passes; default 30 s
	Batch    int           // rows per transaction; default 1,000

	// Held says whether bytes that could be pulled a while ago must stay, as a
	// backup needs it. May be nil: they need not.
	Held func() bool

	// Leases spare many janitors the whole-store work that one of them does; by
	// default this is the only one.
	Leases lease.Leases

	// Guard is asked before each run; its error ends the run before it has removed
	// anything. nil = every run may begin.
	Guard func(context.Context) error

	// CondemnUnknown is an operator's word to condemn objects that no row knows,
	// however many.
	CondemnUnknown bool

	Middlewares []kit.Named // around every phase, outermost first

	Metrics prometheus.Registerer // may be nil; takes the metrics of one Janitor only
}

// Meta is what a janitor may do with rows.
type Meta interface {
	meta.Collector
	meta.CacheCollector
	FindObject(ctx context.Context, k blob.Key) (meta.ObjectRow, error)
}

// Blobs is what a janitor may do with bytes.
type Blobs interface {
	blob.Deleter
	blob.Lister
}

// Janitor runs the phases. Make one with New.
type Janitor struct {
	cfg       Config
	phases    []phase
	evict     phase
	shrink    phase
	events    phase
	count     phase
	sweep     phase
	reconcile phase
	measure   phase
	progress  *progress
	survey    atomic.Pointer[Survey] // of the last reconciliation; nil before the first
}

// phase is one kind of work: it takes the most rows to do and says how many it
// did.
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
	// The order lets one pass carry garbage all the way: what a purge or the end
	// of a manifest's time releases is unlinked, dropped, and condemned.
	j.phases = []phase{
		kit.Wrap("janitor.reap", cfg.Meta.ReapUploads, mw...),
		kit.Wrap("janitor.purge", cfg.Meta.PurgeDeleted, mw...),
		kit.Wrap("janitor.expire", cfg.Meta.ExpireCached, mw...),
		kit.Wrap("janitor.unlink", cfg.Meta.UnlinkBlobs, mw...),
		kit.Wrap("janitor.drop", cfg.Meta.DropBlobs, mw...),
		kit.Wrap("janitor.delete", j.deleteCondemned, mw...),
	}
	j.evict = kit.Wrap("janitor.evict", cfg.Meta.EvictCached, mw...)
	j.shrink = kit.Wrap("janitor.shrink", cfg.Meta.ShrinkCached, mw...)
	j.events = kit.Wrap("janitor.events", cfg.Meta.TrimEvents, mw...)
	j.count = kit.Wrap("janitor.count", func(ctx context.Context, _ int) (int, error) { return cfg.Meta.SettleCharges(ctx) }, mw...)
	j.sweep = kit.Wrap("janitor.sweep", j.sweepUnmarked, mw...)
	j.reconcile = kit.Wrap("janitor.reconcile", j.condemnUnknown, mw...)
	j.measure = kit.Wrap("janitor.measure", j.measureStored, mw...)
	return j
}

// Run works until ctx ends. A failing phase is logged and tried again at the
// next pass.
func (j *Janitor) Run(ctx context.Context) {
	tick := time.NewTicker(j.cfg.Interval)
	defer tick.Stop()
	j.logged(ctx, "measurement", j.Measure)
	evict, sweep, reconcile := time.NewTicker(evictEvery), time.NewTimer(first()), time.NewTimer(first())
	defer evict.Stop()
	defer sweep.Stop()
	defer reconcile.Stop()
	evictor, sweeper, reconciler := newDuty(j.cfg.Leases, "evict"), newDuty(j.cfg.Leases, "sweep"), newDuty(j.cfg.Leases, "reconcile")
	defer evictor.release()
	defer sweeper.release()
	defer reconciler.release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			j.logged(ctx, "pass", j.Pass)
		case <-evict.C:
			j.logged(ctx, "measurement", j.Measure)
			if evictor.ours(ctx) {
				j.logged(ctx, "eviction", j.Evict)
			}
		case <-sweep.C:
			if sweeper.ours(ctx) {
				j.logged(ctx, "sweep", j.Sweep)
			}
			sweep.Reset(sweepEvery)
		case <-reconcile.C:
			if reconciler.ours(ctx) {
				j.logged(ctx, "reconcile", j.Reconcile)
			}
			reconcile.Reset(reconcileEvery)
		}
	}
}

func (j *Janitor) logged(ctx context.Context, what string, run func(context.Context) error) {
	if err := run(ctx); err != nil && ctx.Err() == nil {
		j.cfg.Log.ErrorContext(ctx, "janitor "+what+" failed, it is tried again", "error", err)
	}
}

// Pass does all work that is due, a batch at a time. Its cost is in proportion
// to the garbage, not to what is stored. A phase that fails does not keep the
// others from their work.
func (j *Janitor) Pass(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	errs := make([]error, len(j.phases))
	for i, p := range j.phases {
		errs[i] = j.finish(ctx, p)
	}
	return errors.Join(errs...)
}

// Evict ends the time of what was pulled least recently, where a cache is over
// its limit, or with all else over the quota of its tenant; the next pass removes
// it. It costs as much as is kept in such caches. And it trims the audit log.
func (j *Janitor) Evict(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	return errors.Join(j.finish(ctx, j.evict), j.finish(ctx, j.shrink), j.finish(ctx, j.events))
}

// guard says whether a run may begin.
func (j *Janitor) guard(ctx context.Context) error {
	if j.cfg.Guard == nil {
		return nil
	}
	if err := j.cfg.Guard(ctx); err != nil {
		return fmt.Errorf("nothing is removed: %w", err)
	}
	return nil
}

// finish does all that a phase has to do, and says what that was.
func (j *Janitor) finish(ctx context.Context, p phase) error {
	began := time.Now()
	total, err := j.exhaust(ctx, p)
	j.progress.ran(task(p), began, total, err)
	if total > 0 {
		j.cfg.Log.InfoContext(ctx, "janitor removed what was due", "phase", p.Name, "rows", total)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// task is what metrics call the phase.
func task(p phase) string { return strings.TrimPrefix(p.Name, "janitor.") }

// once runs a phase that does all its work in one call.
func (j *Janitor) once(ctx context.Context, p phase) error {
	began := time.Now()
	n, err := p.Call(ctx, j.cfg.Batch)
	j.progress.ran(task(p), began, n, err)
	return err
}

// exhaust runs a phase until nothing is left for it to do.
func (j *Janitor) exhaust(ctx context.Context, p phase) (int, error) {
	for total := 0; ; {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := p.Call(ctx, j.cfg.Batch)
		total += n
		if n == 0 || err != nil {
			return total, err
		}
	}
}

func (j *Janitor) held() bool { return j.cfg.Held != nil && j.cfg.Held() }

// deleteCondemned is phase D. No transaction is held over the store's call; an
// object whose deletion fails keeps its row and is tried again.
func (j *Janitor) deleteCondemned(ctx context.Context, limit int) (int, error) {
	if j.held() {
		return 0, nil
	}
	due, err := j.cfg.Meta.ClaimCondemned(ctx, limit)
	if err != nil {
		return 0, err
	}
	for _, c := range due {
		// Asked after the claim: what was live when the hold began is condemned, and
		// claimed, later than that. The claim runs out by itself.
		if j.held() {
			return 0, nil
		}
		if err := j.cfg.Blobs.Delete(ctx, c.Key, c.Multipart); err != nil {
			j.cfg.Log.WarnContext(ctx, "a condemned object could not be deleted, it is tried again", "object", c.Key.String(), "error", err)
			continue
		}
		if err := j.cfg.Meta.ForgetObject(ctx, c.Key); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// Sweep marks unreferenced rows that carry no mark. There should be none
// (invariant I13), so one is worth a warning. And it sets right what older versions
// charged.
func (j *Janitor) Sweep(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	return errors.Join(j.once(ctx, j.sweep), j.once(ctx, j.count))
}

func (j *Janitor) sweepUnmarked(ctx context.Context, _ int) (int, error) {
	n, err := j.cfg.Meta.SweepUnmarked(ctx)
	if n > 0 {
		j.cfg.Log.WarnContext(ctx, "unreferenced rows carried no mark; they are marked now", "rows", n)
	}
	return n, err
}

// Measure finds out how many bytes are stored, for the metric: it reads a row for
// each tenant, and not when the metric is read.
func (j *Janitor) Measure(ctx context.Context) error { return j.once(ctx, j.measure) }

func (j *Janitor) measureStored(ctx context.Context, _ int) (int, error) {
	bytes, err := j.cfg.Meta.StoredBytes(ctx)
	if err == nil {
		j.progress.stored.Set(float64(bytes))
	}
	return 0, err
}
