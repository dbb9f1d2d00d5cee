package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const neverHosted = `
SELECT digest, size, incarnation FROM blobs WHERE tenant_id = $1 AND digest = ANY ($2::bytea[]) AND NOT hosted AND NOT suspect`

// FindNeverHosted implements meta.Adopter.
func (s *Store) FindNeverHosted(ctx context.Context, t tenant.ID, blobs []oci.Digest) ([]meta.Blob, error) {
	return collect(ctx, s, t, func(scan scan) (meta.Blob, error) {
		b := newBlob(t, "")
		err := scan(digestScanner{&b.Digest}, &b.Size, uuidScanner{&b.Key.Incarnation})
		return b, err
	}, neverHosted, t, stored(blobs))
}
