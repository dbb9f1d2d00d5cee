package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
)

const (
	findIdentity = `SELECT id, generation FROM deployment WHERE one = 1`

	claimIdentity = `
INSERT INTO deployment (one, id, generation, created_at, raised_at) VALUES (1, ?1, ?2, ?3, ?3) ON CONFLICT (one) DO NOTHING`

	raiseIdentity = `UPDATE deployment SET generation = max(generation, ?1) + 1, raised_at = ?2 WHERE one = 1`
)

// FindIdentity implements meta.Identities.
func (s *Store) FindIdentity(ctx context.Context) (identity.Identity, error) {
	var id identity.Identity
	found, err := s.find(ctx, findIdentity, nil, &id.Deployment, &id.Generation)
	if err == nil && !found {
		err = fault.New(fault.NotFound, fault.ResourceUnknown, "the database carries no identity")
	}
	return id, err
}

// ClaimIdentity implements meta.Identities.
func (s *Store) ClaimIdentity(ctx context.Context, id identity.Identity) (identity.Identity, error) {
	err := s.write(ctx, func(t *tx) error {
		_, err := t.exec(claimIdentity, id.Deployment[:], id.Generation, t.now)
		return err
	})
	if err != nil {
		return identity.Identity{}, err
	}
	return s.FindIdentity(ctx)
}

// RaiseIdentity implements meta.Identities.
func (s *Store) RaiseIdentity(ctx context.Context, atLeast int64) (identity.Identity, error) {
	var id identity.Identity
	err := s.write(ctx, func(t *tx) error {
		if _, err := t.exec(raiseIdentity, atLeast, t.now); err != nil {
			return err
		}
		found, err := t.find(findIdentity, nil, &id.Deployment, &id.Generation)
		if err == nil && !found {
			err = fault.New(fault.NotFound, fault.ResourceUnknown, "the database carries no identity")
		}
		return err
	})
	return id, err
}
