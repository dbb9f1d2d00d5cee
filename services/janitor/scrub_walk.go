package janitor

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// walk is a worker in its round.
type walk struct {
	*Scrubber
	at       meta.Scrub
	recorded time.Time // when the store was told of at
}

// run continues from the cursor to the end.
func (w *walk) run(ctx context.Context) error {
	for {
		if err := w.guard(ctx); err != nil {
			return err
		}
		rows, err := w.Meta.ListObjects(ctx, w.at.Cursor, scrubPage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := w.pass(ctx, row); err != nil {
				return errors.Join(err, w.record(ctx, false)) // the next try begins with this object
			}
		}
		if err := w.record(ctx, len(rows) == 0); err != nil || len(rows) == 0 {
			return err
		}
	}
}

// pass examines an object, if it is live, and leaves it behind.
func (w *walk) pass(ctx context.Context, row meta.ObjectRow) error {
	if row.State == 'L' && row.Blob != "" {
		damage, err := w.examine(ctx, row, w.Rate > 0 || w.Unbound || row.Suspect, w.beat)
		if err != nil {
			return err
		}
		damaged, repaired, err := w.settle(ctx, row, damage, w.beat)
		if err != nil {
			return err
		}
		w.at.Objects++
		w.at.Bytes += row.Size
		w.at.Found += ones[damaged]
		w.at.Repaired += ones[repaired]
		w.progress.objects.Inc()
	}
	w.at.Cursor = row.Key
	return w.beat(ctx)
}

var ones = map[bool]int64{true: 1}

// beat records the progress now and then, so that no other worker takes the round.
func (w *walk) beat(ctx context.Context) error {
	if time.Since(w.recorded) < scrubBeat {
		return nil
	}
	return w.record(ctx, false)
}

func (w *walk) record(ctx context.Context, end bool) error {
	mine, err := w.Meta.AdvanceScrub(ctx, w.id, w.at, scrubHold, end)
	if err == nil && !mine {
		err = errTaken
	}
	w.recorded = time.Now()
	return err
}
