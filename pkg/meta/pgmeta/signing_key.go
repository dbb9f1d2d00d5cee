package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

const deleteOpenSigningKey = `DELETE FROM signing_keys WHERE id = $1`

// AdoptSigningKey implements meta.SigningKeys.
func (s *Store) AdoptSigningKey(ctx context.Context, k access.SigningKey) error {
	return s.write(ctx, noTenant, func(t *tx) error {
		if err := sqlmeta.AdoptSigningKey(t.records(), k); err != nil {
			return err
		}
		t.queue(deleteOpenSigningKey, k.ID)
		return nil
	})
}
