package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const neverHosted = `
SELECT b.digest, b.size, b.incarnation
  FROM json_each(?2) j CROSS JOIN blobs b ON b.tenant_id = ?1 AND b.digest = unhex(j.value) AND b.hosted = 0 AND b.suspect = 0`

// FindNeverHosted implements meta.Adopter.
func (s *Store) FindNeverHosted(ctx context.Context, t tenant.ID, blobs []oci.Digest) ([]meta.Blob, error) {
	return collect(ctx, s, func(scan scan) (meta.Blob, error) {
		b := newBlob(t, "")
		err := scan(digestScanner{&b.Digest}, &b.Size, &b.Key.Incarnation)
		return b, err
	}, neverHosted, t, inJSON(blobs))
}
