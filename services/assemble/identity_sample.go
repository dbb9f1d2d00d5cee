package assemble

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
)

// How much is looked at to see whether two sides without an identity belong
// together. Keys are random, so the first ones are as good as any.
const (
	sampleRows    = 5000 // rows of objects
	samplePage    = 1000
	sampleLive    = 32     // objects of live rows that are looked for
	sampleObjects = 1000   // objects of the store
	sampleEntries = 10_000 // and what else lies there
)

// sample looks at what both sides hold. A side that is nil holds nothing.
func (s stores) sample(ctx context.Context) (identity.Sample, error) {
	var held identity.Sample
	if s.meta != nil {
		if err := s.sampleRows(ctx, &held); err != nil {
			return held, err
		}
	}
	if s.blobs == nil {
		return held, nil
	}
	return held, s.sampleObjects(ctx, &held)
}

func (s stores) sampleRows(ctx context.Context, held *identity.Sample) error {
	var after blob.Key
	for held.Rows < sampleRows && held.Live < sampleLive {
		rows, err := s.meta.ListObjects(ctx, after, samplePage)
		if err != nil || len(rows) == 0 {
			return err
		}
		held.Rows += len(rows)
		for _, row := range rows {
			after = row.Key
			// Most of them are missing: the rest changes nothing, and to look for what
			// is missing takes long.
			if row.State != 'L' || held.Live >= sampleLive || 2*(held.Live-held.Found) > sampleLive {
				continue
			}
			held.Live++
			if s.blobs == nil {
				continue
			}
			size, err := s.blobs.Stat(ctx, row.Key)
			switch {
			case err == nil && size == row.Size:
				held.Found++
			case err != nil && !errors.Is(err, blob.ErrMissing):
				return err
			}
		}
	}
	return nil
}

var errEnough = errors.New("enough was looked at")

func (s stores) sampleObjects(ctx context.Context, held *identity.Sample) error {
	entries := 0
	err := s.blobs.List(ctx, func(o blob.Stored) error {
		if entries++; entries > sampleEntries || held.Stored >= sampleObjects {
			return errEnough
		}
		if o.Foreign != "" {
			return nil
		}
		held.Stored++
		if s.meta == nil {
			held.Unknown++
			return nil
		}
		_, err := s.meta.FindObject(ctx, o.Key)
		if fault.Is(err, fault.ResourceUnknown) {
			held.Unknown++
			return nil
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
