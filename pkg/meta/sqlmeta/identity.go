package sqlmeta

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
UPDATE deployment SET generation = CASE WHEN generation > $1 THEN generation ELSE $1 END + 1, raised_at = berth_now() WHERE one = 1
RETURNING id, generation`
)

func scanIdentity(scan Scan) (identity.Identity, error) {
	var id identity.Identity
	err := scan(&id.Deployment, &id.Generation)
	return id, err
}

// FindIdentity implements meta.Identities.
func (s *Records) FindIdentity(ctx context.Context) (identity.Identity, error) {
	return find(ctx, s, noTenant, noIdentity(), scanIdentity, findIdentity)
}

// ClaimIdentity implements meta.Identities.
func (s *Records) ClaimIdentity(ctx context.Context, id identity.Identity) (identity.Identity, error) {
	err := s.engine.Write(ctx, noTenant, func(t Tx) error { return t.Queue(claimIdentity, id.Deployment[:], id.Generation) })
	if err != nil {
		return identity.Identity{}, err
	}
	return s.FindIdentity(ctx)
}

// RaiseIdentity implements meta.Identities. If the response to a COMMIT is lost,
// the generation is raised twice, which is harmless.
func (s *Records) RaiseIdentity(ctx context.Context, atLeast int64) (identity.Identity, error) {
	var id identity.Identity
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := t.Queue(restartPullsBehind, atLeast); err != nil {
			return err
		}
		found, err := t.Find(raiseIdentity, []any{atLeast}, &id.Deployment, &id.Generation)
		if err == nil && !found {
			err = noIdentity()
		}
		return err
	})
	return id, err
}

func noIdentity() error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the database carries no identity")
}
