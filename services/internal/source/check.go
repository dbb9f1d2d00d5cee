package source

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// checksAtOnce is how many objects are looked for at a time.
const checksAtOnce = 8

// CheckCached makes blobs suspect that were only ever cached and have lost their bytes,
// so that they are not adopted: after a restore of the metadata, the bytes of evicted
// content are gone (protocol section 6).
func (s Sources) CheckCached(ctx context.Context, t tenant.ID, blobs []oci.Digest) error {
	cached, err := s.Meta.FindNeverHosted(ctx, t, blobs)
	if err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(checksAtOnce)
	for _, b := range cached {
		all.Go(func() error { return s.checkBytes(ctx, b) })
	}
	return all.Wait()
}

func (s Sources) checkBytes(ctx context.Context, b meta.Blob) error {
	size, err := s.Blobs.Stat(ctx, b.Key)
	switch {
	case errors.Is(err, blob.ErrMissing), err == nil && size != b.Size:
		return s.Meta.MarkSuspect(ctx, b)
	case err != nil:
		return fault.Down(err, "the content of this blob")
	}
	return nil
}
