package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/evaluate"
)

// RetainConfig is what a Retainer needs. Log has a default.
type RetainConfig struct {
	Meta RetainMeta
	Log  *slog.Logger

	Rate  int                         // deletions in a second; 0 = as fast as the store is
	Guard func(context.Context) error // called before each run; its error prevents that; may be nil

	Metrics prometheus.Registerer // may be nil; takes the metrics of one Retainer only
}

// RetainMeta is the part of meta.Store that a Retainer needs.
type RetainMeta interface {
	evaluate.Meta
	meta.RetentionRuns
}

// Times of runs.
const (
	retainPoll   = 5 * time.Second // between two looks whether a run is due
	retainHold   = 5 * time.Minute // a worker that says nothing for so long has lost its run
	retainWait   = 30 * time.Second
	retainBeat   = 5 * time.Second
	retainLatest = 10 * time.Minute // how long an evaluation is acted upon
)

// errRunTaken ends a run that was ended, or given to another worker.
var errRunTaken = errors.New("the run is not this worker's")

// Retainer runs retention policies: it evaluates repositories, and deletes what goes. Any
// number may work: the store gives a run to one at a time. Make one with NewRetainer.
type Retainer struct {
	RetainConfig
	id       uuid.UUID
	limit    *rate.Limiter
	progress *retainMetrics
}

// NewRetainer makes a Retainer.
func NewRetainer(c RetainConfig) *Retainer {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	limit := rate.Inf
	if c.Rate > 0 {
		limit = rate.Limit(c.Rate)
	}
	return &Retainer{RetainConfig: c, id: uuid.New(), limit: rate.NewLimiter(limit, 1), progress: newRetainMetrics(c.Metrics)}
}

// Run works until ctx ends. What fails is logged and tried again.
func (r *Retainer) Run(ctx context.Context) {
	next := time.NewTimer(retainPoll)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		worked, err := r.Step(ctx)
		wait := retainPoll
		if err != nil && ctx.Err() == nil {
			r.Log.ErrorContext(ctx, "a retention policy failed and will be retried", "error", err)
			r.progress.failed.Inc()
			wait = retainWait
		}
		if worked && err == nil {
			wait = 0
		}
		next.Reset(wait)
	}
}

// Step leads a run that is due to its end, and reports whether there was one.
func (r *Retainer) Step(ctx context.Context) (bool, error) {
	if r.Guard != nil {
		if err := r.Guard(ctx); err != nil {
			return false, fmt.Errorf("nothing is deleted: %w", err)
		}
	}
	p, claimed, err := r.Meta.ClaimRetention(ctx, r.id, retainHold)
	if err != nil || !claimed {
		return false, err
	}
	w := &retaining{
		Retainer: r, policy: p, done: p.Run.RetentionProgress, recorded: time.Now(),
		step: meta.RetentionStep{Tenant: p.Tenant, Policy: p.Slug, Number: p.Run.Number, Worker: r.id, Hold: retainHold},
	}
	err = w.run(ctx)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errRunTaken) || errors.Is(err, meta.ErrRunLost):
		return true, nil
	case errors.Is(err, errPullsUnknown):
		return true, r.release(ctx, w.step, "")
	}
	return true, errors.Join(fmt.Errorf("policy %s: %w", p.Slug, err), r.release(ctx, w.step, fault.From(err).Message))
}

// release leaves a run to the next try, also where this process ends.
func (r *Retainer) release(ctx context.Context, s meta.RetentionStep, failure string) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), retainBeat)
	defer cancel()
	after := retainWait
	if ctx.Err() != nil {
		after, failure = 0, ""
	}
	return r.Meta.ReleaseRetention(within, s, after, failure)
}
