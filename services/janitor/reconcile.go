package janitor

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
)

const (
	// unknownAge is the age from which a stored object without a row is condemned: a
	// paused writer may leak bytes, but must never lose them.
	unknownAge = 24 * time.Hour

	// maxUnknown is how many keys one run remembers; the next run takes the rest.
	maxUnknown = 100_000
)

// Survey is the result of a reconciliation.
type Survey struct {
	Stored  int64 // objects
	Unknown int64 // of these, old ones without a row
	Refused bool  // too many to be condemned without the operator's permission
}

// maxCondemned is how many stored objects one run may condemn: a tenth, or a few of a
// small store. If more have no row, the database has lost rows, and their objects must
// stay.
func maxCondemned(stored int64) int64 { return max(stored/10, min(10, stored/4)) }

// Survey returns the result of the last reconciliation.
func (j *Janitor) Survey() Survey {
	if s := j.survey.Load(); s != nil {
		return *s
	}
	return Survey{}
}

// Refusal says why the last reconciliation refused to condemn objects; nil if it
// did not.
func (j *Janitor) Refusal() error {
	s := j.Survey()
	if !s.Refused {
		return nil
	}
	return fmt.Errorf("the database knows nothing of %d of the %d objects in the blob store, and they are not removed: "+
		"look whether it is the right database, and whether it is complete; to have them removed, start once with condemn_unknown (--condemn-unknown)", s.Unknown, s.Stored)
}

// Reconcile condemns stored objects without a row (invariant I3), unless they are
// more than a bounded share of the store.
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
	if err := j.guard(ctx); err != nil { // listing may have taken hours
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

// listUnknown lists the store, and returns the keys of old objects without a row.
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
