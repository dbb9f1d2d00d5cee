package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
)

const (
	findIdentity = `SELECT id, generation FROM deployment WHERE one = 1`

	claimIdentity = `
INSERT INTO deployment (one, id, generation, created_at, raised_at) VALUES (1, $1, $2, berth_now(), berth_now()) ON CONFLICT (one) DO NOTHING`

	raiseIdentity = `
UPDATE deployment SET generation = greatest(generation, $1) + 1, raised_at = berth_now() WHERE one = 1 RETURNING id, generation`
)

// FindIdentity implements meta.Identities.
func (s *Store) FindIdentity(ctx context.Context) (identity.Identity, error) {
	var id identity.Identity
	found, err := s.find(ctx, nobody, findIdentity, nil, ident{&id.Deployment}, &id.Generation)
	if err == nil && !found {
		err = fault.New(fault.NotFound, fault.ResourceUnknown, "the database carries no identity")
	}
	return id, err
}

// ClaimIdentity implements meta.Identities.
func (s *Store) ClaimIdentity(ctx context.Context, id identity.Identity) (identity.Identity, error) {
	err := s.write(ctx, nobody, func(t *tx) error {
		t.queue(claimIdentity, pgUUID(id.Deployment), id.Generation)
		return nil
	})
	if err != nil {
		return identity.Identity{}, err
	}
	return s.FindIdentity(ctx)
}

// RaiseIdentity implements meta.Identities. Where the answer of a COMMIT is lost
// it is raised twice, which does no harm.
func (s *Store) RaiseIdentity(ctx context.Context, atLeast int64) (identity.Identity, error) {
	var id identity.Identity
	err := s.write(ctx, nobody, func(t *tx) error {
		found, err := t.find(raiseIdentity, []any{atLeast}, ident{&id.Deployment}, &id.Generation)
		if err == nil && !found {
			err = fault.New(fault.NotFound, fault.ResourceUnknown, "the database carries no identity")
		}
		return err
	})
	return id, err
}
