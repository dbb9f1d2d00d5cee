package pgmeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// It waits for the writers in flight.
const lockRepositoryToDelete = `
SELECT r.id
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NULL
  JOIN repositories r ON r.tenant_id = t.id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
 WHERE t.id = $1 AND t.state = 'active'
   FOR UPDATE OF r`

const markRepositoryDeleting = `
UPDATE repositories SET state = 'deleting', listed = false WHERE tenant_id = $1 AND id = $2 AND state = 'active'`

const lockOpenUploads = `
SELECT tenant_id, id, incarnation, tail FROM uploads
 WHERE tenant_id = $1 AND repo_id = $2 AND state IN ('open', 'sealed')
 ORDER BY tenant_id, id FOR UPDATE`

// endUploads cancels the open sessions of a repository that is locked: what is restored
// later does not continue them.
func (t *tx) endUploads(id tenant.ID, repo int64, life meta.Lifetimes) error {
	var sessions, staged keys
	t.queue(lockOpenUploads, id, repo).Query(each(readSessions(&sessions, &staged)))
	if err := t.flush(); err != nil || sessions.len() == 0 {
		return err
	}
	t.queue(expireUploads, sessions.tenants, sessions.ids, life.Committed)
	t.queue(condemnAllStaged, staged.tenants, staged.ids, life.StagedDelay)
	return nil
}

// DeleteRepository implements meta.Repositories. A repository that holds only
// uploads or blobs can be deleted too.
func (s *Store) DeleteRepository(ctx context.Context, by meta.Cause, r meta.Repo) error {
	return s.write(ctx, r.Tenant, func(t *tx) error {
		// A repeated request finds the repository deleted, so check the operation first.
		if err := t.alreadyDone(by, r.Tenant); err != nil {
			return err
		}
		var repo, recorded int64
		found, err := t.find(lockRepositoryToDelete, []any{r.Tenant, r.Registry, r.Name}, &repo)
		if err != nil {
			return err
		}
		if !found {
			return nameUnknown(r)
		}
		overridden, err := sqlmeta.GuardRepository(t.records(), by, r, repo)
		if err != nil {
			return err
		}
		if by.ValidateOnly {
			return sqlmeta.ErrAlreadyDone
		}
		caused := by
		caused.Changes = slices.Concat(by.Changes, overridden)
		if err := t.repositoryEvent(caused, r, "repository.delete", "", &recorded); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		if recorded == 0 {
			return sqlmeta.ErrAlreadyDone
		}
		if s.life.Undelete > 0 {
			if err := t.endUploads(r.Tenant, repo, s.life); err != nil {
				return err
			}
		}
		t.queue(sqlmeta.DeleteRepository, r.Tenant, repo, s.life.Undelete)
		return nil
	})
}

// UndeleteRepository implements meta.DeletedRepositories.
func (s *Store) UndeleteRepository(ctx context.Context, u meta.RepositoryUndelete) error {
	return s.write(ctx, u.Repo.Tenant, func(t *tx) error {
		if err := sqlmeta.RestoreRepository(t.records(), u, s.life); err != nil {
			return err
		}
		t.withinQuota(u.Repo.Tenant, false)
		return nil
	})
}
