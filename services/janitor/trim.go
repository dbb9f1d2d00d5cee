package janitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-registry/berth/services/internal/cacheroom"
)

// Room says how much the caches may keep; *cacheroom.Room does.
type Room interface {
	Plan(ctx context.Context) (cacheroom.Plan, error)
	// Wanted receives when room is wanted at once.
	Wanted() <-chan struct{}
}

const (
	// planEvery is the time between two looks at the room.
	planEvery = 10 * time.Second
	// retryTrim is the time to the next look while evicted bytes wait to be deleted, at
	// least.
	retryTrim = 250 * time.Millisecond
)

// runTrims keeps the caches within their bound.
func (j *Janitor) runTrims(ctx context.Context) {
	if j.cfg.Room == nil {
		return
	}
	next := time.NewTimer(retryTrim)
	defer next.Stop()
	trimmer := newExclusiveTask(j.cfg.Leases, "trim")
	defer trimmer.release()
	least := min(max(j.cfg.EvictedDelay/10, retryTrim), planEvery)
	waiting, wait := int64(0), planEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-j.cfg.Room.Wanted():
		}
		if trimmer.shouldRun(ctx) {
			j.runLogged(ctx, "trim", func(ctx context.Context) error {
				evicted, err := j.trim(ctx)
				switch evicted {
				case 0:
					wait = planEvery
				case waiting: // it is being read, or a backup needs it
					wait = min(2*wait, planEvery)
				default:
					wait = least
				}
				waiting = evicted
				return err
			})
		}
		next.Reset(wait)
	}
}

// Trim makes the caches fit into their bound, and deletes evicted bytes that are due.
func (j *Janitor) Trim(ctx context.Context) error {
	_, err := j.trim(ctx)
	return err
}

// trim returns the evicted bytes that are not deleted yet.
func (j *Janitor) trim(ctx context.Context) (int64, error) {
	plan, err := j.cfg.Room.Plan(ctx)
	if err != nil || plan.Keep < 0 && plan.Evicted == 0 {
		return 0, err
	}
	if err := j.guard(ctx); err != nil {
		return 0, err
	}
	if plan.Keep >= 0 && j.cfg.RecordPulls != nil {
		j.cfg.RecordPulls(ctx) // what was pulled just now stays
	}
	evicted := 0
	for end := time.Now().Add(phaseTimeout); plan.Keep >= 0 && time.Now().Before(end); {
		n, err := j.evictStep(ctx, plan.Keep)
		if err != nil {
			return plan.Evicted, err
		}
		evicted += n
		next, err := j.cfg.Room.Plan(ctx)
		if err != nil {
			return plan.Evicted, err
		}
		if n == 0 || next.Cached <= plan.Keep {
			break
		}
	}
	if evicted > 0 {
		j.cfg.Log.DebugContext(ctx, "janitor trimmed the caches", "items", evicted, "keep", plan.Keep)
	}
	err = j.quietly(ctx, j.remove, full)
	after, planErr := j.cfg.Room.Plan(ctx)
	return after.Evicted, errors.Join(err, planErr)
}

// evictStep evicts some of the least recently pulled content, and collects it as far as
// the condemned objects.
func (j *Janitor) evictStep(ctx context.Context, keep int64) (int, error) {
	began := time.Now()
	n, err := j.cfg.Meta.TrimCached(ctx, keep, j.cfg.Batch)
	j.progress.observe("trim", began, n, err)
	if err != nil {
		return n, fmt.Errorf("janitor.trim: %w", err)
	}
	for _, p := range j.collection {
		if err := j.quietly(ctx, p, full); err != nil {
			return n, err
		}
	}
	return n, nil
}

// quietly is finish for what happens every few seconds: it logs nothing.
func (j *Janitor) quietly(ctx context.Context, p phase, at pace) error {
	began := time.Now()
	n, _, err := j.exhaust(ctx, p, at)
	j.progress.observe(task(p), began, n, err)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}
