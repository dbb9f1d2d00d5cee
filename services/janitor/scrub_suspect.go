package janitor

import (
	"context"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
)

// maxLost is how many lost objects are looked for at a time.
const maxLost = 1000

// noBeat is for work that needs no round.
func noBeat(context.Context) error { return nil }

// examineNoticed is Recheck now and then.
func (s *Scrubber) examineNoticed(ctx context.Context) error {
	if time.Since(s.noticed) < scrubSuspect || !s.suspects.shouldRun(ctx) {
		return nil
	}
	s.noticed = time.Now()
	return s.Recheck(ctx)
}

// Recheck examines what reads have noticed, and looks whether lost objects are back: the store
// may have been wrong for a moment.
func (s *Scrubber) Recheck(ctx context.Context) error {
	return errors.Join(s.examineSuspects(ctx), s.lookForLost(ctx), s.count(ctx))
}

func (s *Scrubber) examineSuspects(ctx context.Context) error {
	var after blob.Key
	for {
		rows, err := s.Meta.ListSuspects(ctx, after, scrubPage)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := s.guard(ctx); err != nil {
			return err
		}
		for _, row := range rows {
			after = row.Key
			damage, err := s.examine(ctx, row, true, noBeat)
			if err != nil {
				return err
			}
			if _, _, err := s.settle(ctx, row, damage, noBeat); err != nil {
				return err
			}
		}
	}
}

// lookForLost examines lost objects that exist now. It continues where the last call ended.
func (s *Scrubber) lookForLost(ctx context.Context) error {
	damaged, err := s.Meta.ListDamaged(ctx, s.lost, maxLost)
	if err != nil {
		return err
	}
	for _, d := range damaged {
		s.lost = d.Key
		if d.Damage != meta.Lost {
			continue
		}
		_, err := s.Blobs.Stat(ctx, d.Key)
		if errors.Is(err, blob.ErrMissing) {
			continue
		}
		if err != nil {
			return err
		}
		row := meta.ObjectRow{Key: d.Key, State: 'L', Size: d.Size, Blob: d.Digest.String(), Suspect: true}
		damage, err := s.examine(ctx, row, true, noBeat)
		if err != nil {
			return err
		}
		if _, _, err := s.settle(ctx, row, damage, noBeat); err != nil {
			return err
		}
	}
	if len(damaged) < maxLost {
		s.lost = blob.Key{}
	}
	return nil
}
