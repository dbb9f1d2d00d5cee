package janitor

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
)

const (
	// unknownAge is how old a stored object that no row knows must be before it is
	// condemned: a paused writer may leak, and must never lose.
	unknownAge = 24 * time.Hour

	// maxUnknown is how many keys one run remembers; the next run takes the rest.
	maxUnknown = 100_000
)

// Survey is what a reconciliation has seen of the store.
type Survey struct {
	Stored  int64 // objects
	Unknown int64 // of these, old ones that no row knows
	Refused bool  // they are too many to be condemned without an operator's word
}

// maxCondemned is how many of so many stored objects one run condemns by itself: a tenth,
// or a few of a small store. A database that knows less of its store has lost
// something, and so would the store.
func maxCondemned(stored int64) int64 { return max(stored/10, min(10, stored/4)) }

// Survey returns what the last reconciliation has seen.
func (j *Janitor) Survey() Survey {
	if s := j.survey.Load(); s != nil {
		return *s
	}
	return Survey{}
}

// Refusal says why the last reconciliation condemned nothing; nil when it did
// what it had to do.
func (j *Janitor) Refusal() error {
	s := j.Survey()
	if !s.Refused {
		return nil
	}
	return fmt.Errorf("the database knows nothing of %d of the %d objects in the blob store, and they are not removed: "+
		"look whether it is the right database, and whether it is complete; to have them removed, start once with condemn_unknown (--condemn-unknown)", s.Unknown, s.Stored)
}

// Reconcile condemns stored objects that no row knows (invariant I3), unless they
// are more than a bounded share of the store.
func (j *Janitor) Reconcile(ctx context.Context) error {
	if err := j.guard(ctx); err != nil {
		return err
	}
	return j.runOnce(ctx, j.reconcile)
}

func (j *Janitor) condemnUnknown(ctx context.Context, _ int) (int, error) {
	seen, unknown, err := j.listUnknown(ctx)
	if err != nil {
		return 0, err
	}
	seen.Refused = seen.Unknown > maxCondemned(seen.Stored) && !j.cfg.CondemnUnknown
	j.survey.Store(&seen)
	if seen.Refused {
		return 0, j.Refusal()
	}
	if err := j.guard(ctx); err != nil { // the look may have taken hours
		return 0, err
	}
	for _, k := range unknown {
		if err := j.cfg.Meta.CondemnUnknown(ctx, k); err != nil {
			return 0, err
		}
	}
	if len(unknown) > 0 {
		j.cfg.Log.WarnContext(ctx, "objects that no row knows were condemned", "objects", len(unknown), "stored", seen.Stored)
	}
	return len(unknown), nil
}

// listUnknown lists the store, and the keys of old objects that no row knows.
func (j *Janitor) listUnknown(ctx context.Context) (Survey, []blob.Key, error) {
	var seen Survey
	var unknown []blob.Key
	err := j.cfg.Blobs.List(ctx, func(s blob.Stored) error {
		if s.Foreign != "" {
			return ctx.Err()
		}
		seen.Stored++
		if time.Since(s.Changed) < unknownAge {
			return ctx.Err()
		}
		_, err := j.cfg.Meta.FindObject(ctx, s.Key)
		if !fault.Is(err, fault.ResourceUnknown) {
			return err
		}
		seen.Unknown++
		if len(unknown) < maxUnknown {
			unknown = append(unknown, s.Key)
		}
		return nil
	})
	return seen, unknown, err
}
