package sqlitemeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const markRepositoryDeleting = `
UPDATE repositories SET state = 'deleting', listed = 0 WHERE tenant_id = ?1 AND id = ?2 AND state = 'active'`

const openUploadsOf = `
SELECT tenant_id, id, state, incarnation, tail FROM uploads WHERE tenant_id = ?1 AND repo_id = ?2 AND state IN ('open', 'sealed')`

// endUploads cancels the open sessions of a repository: what is restored later does not
// continue them.
func (t *tx) endUploads(id tenant.ID, repo int64, life meta.Lifetimes) error {
	open, err := t.uploads(openUploadsOf, id, repo)
	for _, u := range open {
		if err == nil {
			err = t.reap(u, life)
		}
	}
	return err
}

// DeleteRepository implements meta.Repositories. A repository that holds only
// uploads or blobs can be deleted too.
func (s *Store) DeleteRepository(ctx context.Context, by meta.Cause, r meta.Repo) error {
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		// A repeated request finds the repository deleted, so check the operation first.
		if err := t.alreadyDone(by, r.Tenant); err != nil {
			return err
		}
		repo, err := t.repository(r, hosted)
		if err != nil {
			return err
		}
		overridden, err := sqlmeta.GuardRepository(t.records(), by, r, repo.id)
		if err != nil {
			return err
		}
		if by.ValidateOnly {
			return sqlmeta.ErrAlreadyDone
		}
		caused := by
		caused.Changes = slices.Concat(by.Changes, overridden)
		if err := t.event(caused, r.Tenant, "repository.delete", repo.target); err != nil {
			return err
		}
		if s.life.Undelete > 0 {
			if err := t.endUploads(r.Tenant, repo.id, s.life); err != nil {
				return err
			}
		}
		_, err = t.exec(sqlmeta.DeleteRepository, r.Tenant, repo.id, s.life.Undelete.Microseconds())
		return err
	})
}

// UndeleteRepository implements meta.DeletedRepositories.
func (s *Store) UndeleteRepository(ctx context.Context, u meta.RepositoryUndelete) error {
	crowded := false
	err := s.writeFor(ctx, u.Repo.Tenant, func(t *tx) error {
		if err := sqlmeta.RestoreRepository(t.records(), u, s.life); err != nil {
			return err
		}
		after, err := t.usage(u.Repo.Tenant)
		if err != nil {
			return err
		}
		crowded = after.crowded
		return t.fits(u.Repo.Tenant, after)
	})
	if err == nil && crowded {
		s.makeRoom(ctx, u.Repo.Tenant)
	}
	return err
}
