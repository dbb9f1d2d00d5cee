package janitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/services/internal/evaluate"
)

// errPullsUnknown lets a run wait until all pulls before its begin are known.
var errPullsUnknown = errors.New("pulls before the run are not all known yet")

// errLimit ends a run at the limit of its policy.
var errLimit = errors.New("the run has reached its limit")

// retaining is a worker in its run.
type retaining struct {
	*Retainer
	policy   meta.RetentionPolicy
	step     meta.RetentionStep
	done     meta.RetentionProgress
	at       retention.Moment
	recorded time.Time // when the store was told of done
}

// run continues from the last repository to the end.
func (w *retaining) run(ctx context.Context) error {
	accounting, err := w.Meta.FindPullAccounting(ctx)
	if err != nil {
		return err
	}
	if w.policy.AsksForPulls("") && accounting.KnownAt.Before(w.policy.Run.BeganAt) {
		return errPullsUnknown
	}
	w.at = accounting.Moment(w.policy.Run.BeganAt)
	t, err := evaluate.Open(ctx, w.Meta, w.policy.Tenant)
	if err != nil {
		return err
	}
	err = t.Walk(ctx, w.policy, evaluate.Place{Registry: w.done.Registry, Name: w.done.Repository}, func(r meta.Repo, at evaluate.Place) (bool, error) {
		if err := w.repository(ctx, t, r, at.Registry); err != nil {
			return false, err
		}
		w.done.Registry, w.done.Repository = at.Registry, at.Name
		return true, w.beat(ctx)
	})
	limited := errors.Is(err, errLimit)
	if err != nil && !limited {
		return err
	}
	by := meta.Cause{Op: uuid.New(), Actor: meta.RetentionPolicyTarget(w.policy.Slug)}
	ended, err := w.Meta.EndRetention(ctx, by, w.step, w.done, limited)
	if err == nil && !ended {
		err = errRunTaken
	}
	if err == nil {
		w.progress.ran(w.policy)
	}
	return err
}

// beat records the progress now and then, so that no other worker takes the run.
func (w *retaining) beat(ctx context.Context) error {
	if time.Since(w.recorded) < retainBeat {
		return nil
	}
	mine, err := w.Meta.AdvanceRetention(ctx, w.step, w.done)
	if err == nil && !mine {
		err = errRunTaken
	}
	w.recorded = time.Now()
	return err
}

// repository evaluates a repository and does what follows, by an evaluation that is not
// too old.
func (w *retaining) repository(ctx context.Context, t *evaluate.Tenant, r meta.Repo, registry string) error {
	for first := true; ; first = false {
		e, err := t.Evaluate(ctx, w.policy.Policy, r, registry, w.at)
		if fault.Is(err, fault.NameUnknown) {
			return nil // it was deleted
		}
		if err != nil {
			return err
		}
		if first {
			w.done.Repositories++
			w.done.Protected += e.Protected()
			w.progress.repositories.Inc()
		}
		if !w.policy.Enforced {
			w.observe(e)
			return nil
		}
		if more, err := w.delete(ctx, r, e); err != nil || !more {
			return err
		}
	}
}

// observe counts what would go.
func (w *retaining) observe(e evaluate.Evaluation) {
	for _, d := range e.Deletions {
		w.done.Deletions++
		if d.Tag != "" {
			w.done.Tags++
			continue
		}
		w.done.Manifests++
		w.done.Tags += int64(len(d.Tags))
	}
	w.done.Bytes += e.Bytes
}

// delete does the deletions of an evaluation, and reports whether there may be more after
// another one.
func (w *retaining) delete(ctx context.Context, r meta.Repo, e evaluate.Evaluation) (bool, error) {
	bases := w.policy.Bases(e.Result)
	began, before := time.Now(), w.done.Deletions
	more := false
	for _, d := range e.Deletions {
		if d.Group > 0 && time.Since(began) > retainLatest {
			more = true
			break
		}
		if left := w.policy.MaxDeletions - w.done.Deletions; d.Group > 0 && (left <= 0 || int64(d.Group) > left && w.done.Deletions > 0) {
			return false, errLimit
		}
		steps := evaluate.Surplus(d)
		if more = more || len(steps) > 0; len(steps) == 0 {
			steps = []retention.Deletion{d}
		}
		for _, step := range steps {
			if step.Tag != "" && w.done.Deletions >= w.policy.MaxDeletions {
				return false, errLimit
			}
			if err := w.deleteOne(ctx, r, step, bases.Of(step)); err != nil {
				return false, err
			}
			if err := w.beat(ctx); err != nil {
				return false, err
			}
		}
	}
	return more && w.done.Deletions > before, nil
}

// deleteOne does one deletion, unless what it was decided by has changed.
func (w *retaining) deleteOne(ctx context.Context, r meta.Repo, d retention.Deletion, b retention.Basis) error {
	if err := w.limit.Wait(ctx); err != nil {
		return err
	}
	err := w.Meta.DeleteEvaluated(ctx, meta.RetentionDeletion{
		Step: w.step, Repo: r, Deletion: d, Basis: b,
		By: meta.Cause{
			Op: uuid.New(), Actor: meta.RetentionPolicyTarget(w.policy.Slug), OverrideTagRules: w.policy.MayDeleteProtected,
			Changes: []meta.Change{{Field: "retention_rule", New: d.Rule}},
		},
	})
	switch {
	case err == nil:
		w.count(d, b)
		return nil
	case errors.Is(err, meta.ErrRunLost) || !slices.Contains(refusals, fault.KindOf(err)):
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	w.done.Refused++
	w.progress.refused.Inc()
	return nil
}

// refusals are the kinds of the errors of a deletion that is not to be done: what it was
// decided by has changed, it is gone, a tag rule protects it, or an index names it.
var refusals = []fault.Kind{fault.Conflict, fault.NotFound, fault.Denied, fault.Unsupported}

// count counts as the store has.
func (w *retaining) count(d retention.Deletion, b retention.Basis) {
	w.done.Deletions++
	w.done.Tags += int64(len(b.Tags))
	w.done.Bytes += d.Bytes
	w.progress.deleted.WithLabelValues("tag").Add(float64(len(b.Tags)))
	if d.Tag == "" {
		w.done.Manifests++
		w.progress.deleted.WithLabelValues("manifest").Inc()
	}
}
