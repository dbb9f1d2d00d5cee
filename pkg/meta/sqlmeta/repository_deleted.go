package sqlmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// DeleteRepository marks a repository that is locked. One that has nothing to restore
	// is removed at once.
	DeleteRepository = `
UPDATE repositories SET listed = FALSE, deleted_at = berth_now(),
       expire_at = CASE WHEN CAST($3 AS interval) > CAST('0' AS interval) THEN berth_now() + CAST($3 AS interval) END,
       state = CASE WHEN CAST($3 AS interval) > CAST('0' AS interval)
                     AND (EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2)
                       OR EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2)) THEN 'deleted' ELSE 'deleting' END
 WHERE tenant_id = $1 AND id = $2 AND state = 'active'`

	selectDeleted = `
SELECT id, name, deleted_at, expire_at FROM repositories
 WHERE tenant_id = $1 AND registry_id = $2 AND state = 'deleted' AND expire_at > berth_now()`

	deletedBetween    = selectDeleted + ` AND (name, id) > ($3, $4) AND (name, id) < ($5, $6) ORDER BY name, id LIMIT $7`
	deletedDescending = selectDeleted + ` AND (name, id) > ($3, $4) AND (name, id) < ($5, $6) ORDER BY name DESC, id DESC LIMIT $7`

	lastDeleted   = selectDeleted + ` AND name = $3 ORDER BY deleted_at DESC, id DESC LIMIT 1`
	deletedAtTime = selectDeleted + ` AND name = $3 AND deleted_at = $4 ORDER BY id DESC LIMIT 1`

	// Neither is deleted while a repository of it is restored.
	findRestoring = `
SELECT g.slug
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE t.id = $1 AND t.state = 'active'`
	lockRestoring = findRestoring + ` FOR KEY SHARE OF g`

	findNamed = `SELECT id FROM repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active'`

	// In the order of their ids. It waits for the writers in flight.
	findToRestore = `
SELECT id, state, state = 'deleted' AND expire_at > berth_now() FROM repositories WHERE tenant_id = $1 AND (id = $2 OR id = $3) ORDER BY id`
	lockToRestore = findToRestore + ` FOR UPDATE`

	holdsContent = `
SELECT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2)
    OR EXISTS (SELECT 1 FROM uploads u WHERE u.tenant_id = $1 AND u.repo_id = $2 AND u.state IN ('open', 'sealed'))
    OR EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = $1 AND rb.repo_id = $2 AND rb.keep_until > berth_now())`

	restoreRepository = `
UPDATE repositories SET state = 'active', name = $3, deleted_at = NULL, expire_at = NULL,
       listed = EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.expire_at IS NULL)
 WHERE tenant_id = $1 AND id = $2`

	// The claim may have been released, or the name is another one.
	claimRestored = `
INSERT INTO name_claims (tenant_id, registry_id, name, since)
SELECT tenant_id, registry_id, name, berth_now() FROM repositories WHERE tenant_id = $1 AND id = $2 AND listed
ON CONFLICT (tenant_id, registry_id, name) DO NOTHING`
)

func scanDeleted(scan Scan) (meta.DeletedRepository, error) {
	var d meta.DeletedRepository
	err := scan(&d.ID, &d.Name, timeScanner{&d.DeletedAt}, timeScanner{&d.ExpireAt})
	return d, err
}

// DeletedBetween implements meta.DeletedRepositories.
func (s *Records) DeletedBetween(ctx context.Context, t tenant.ID, r tenant.RegistryID, b meta.Between[string]) ([]meta.DeletedRepository, error) {
	query := deletedBetween
	if b.Descending {
		query = deletedDescending
	}
	after, afterID := meta.ParseDeletedKey(b.After)
	before, beforeID := meta.ParseDeletedKey(b.Before)
	return list(ctx, s, t, scanDeleted, query, t, r, after, afterID, before, beforeID, b.Size)
}

// RestoreRepository is the part of an undelete that the databases share: all but the
// quota. ErrAlreadyDone: it was committed before, or only validated.
func RestoreRepository(t Tx, u meta.RepositoryUndelete, life meta.Lifetimes) error {
	if u.By.Op == uuid.Nil {
		return ErrNoOperation
	}
	if err := AlreadyDone(t, u.By, u.Repo.Tenant); err != nil {
		return err
	}
	r, to := u.Repo, u.Restored()
	var slug string
	found, err := t.Find(t.Pick(findRestoring, lockRestoring), []any{r.Tenant, r.Registry}, &slug)
	if err != nil {
		return err
	}
	if !found {
		return meta.NotDeleted(r)
	}
	d, err := findDeleted(t, u)
	if err != nil {
		return err
	}
	present, err := lockRestored(t, d, to)
	if err != nil || u.By.ValidateOnly {
		return orValidated(err)
	}
	target := RegistryTarget(slug) + "/repositories/"
	if err := Event(t, u.By, r.Tenant, "repository.undelete", target+to.Name); err != nil {
		return err
	}
	if present != 0 {
		by := u.By
		by.Op, by.Changes = uuid.NewSHA1(u.By.Op, []byte("gives way")), []meta.Change{{Field: "name", Old: to.Name}}
		if err := Event(t, by, r.Tenant, "repository.delete", target+to.Name); err != nil {
			return err
		}
		if err := t.Queue(DeleteRepository, r.Tenant, present, t.Interval(life.Undelete)); err != nil {
			return err
		}
	}
	t.OnViolation("repositories_by_name", ErrRestart) // it was made meanwhile
	if err := t.Queue(restoreRepository, r.Tenant, d.ID, to.Name); err != nil {
		return err
	}
	return t.Queue(claimRestored, r.Tenant, d.ID)
}

// orValidated ends a transaction that only validates.
func orValidated(err error) error {
	if err == nil {
		err = ErrAlreadyDone
	}
	return err
}

func findDeleted(t Tx, u meta.RepositoryUndelete) (meta.DeletedRepository, error) {
	query, args := lastDeleted, []any{u.Repo.Tenant, u.Repo.Registry, u.Repo.Name}
	if !u.DeletedAt.IsZero() {
		query, args = deletedAtTime, append(args, t.Time(u.DeletedAt))
	}
	var d meta.DeletedRepository
	found, err := t.Find(query, args, &d.ID, &d.Name, timeScanner{&d.DeletedAt}, timeScanner{&d.ExpireAt})
	if err == nil && !found {
		err = meta.NotDeleted(u.Repo)
	}
	return d, err
}

// lockRestored locks a deleted repository, and the one that has its name now, and decides
// about both. It returns the ID of the one that gives way, or 0.
func lockRestored(t Tx, d meta.DeletedRepository, to meta.Repo) (int64, error) {
	var present int64
	if _, err := t.Find(findNamed, []any{to.Tenant, to.Registry, to.Name}, &present); err != nil {
		return 0, err
	}
	restorable, stays := false, present == 0
	err := t.List(t.Pick(findToRestore, lockToRestore), []any{to.Tenant, d.ID, present}, func(scan Scan) error {
		var id int64
		var state string
		var deleted bool
		err := scan(&id, &state, &deleted)
		restorable = restorable || id == d.ID && deleted
		stays = stays || id == present && state == "active"
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case !restorable:
		return 0, meta.NotDeleted(meta.Repo{Tenant: to.Tenant, Registry: to.Registry, Name: d.Name})
	case !stays:
		return 0, ErrRestart // it was deleted meanwhile
	case present == 0:
		return 0, nil
	}
	var holds bool
	if _, err := t.Find(holdsContent, []any{to.Tenant, present}, &holds); err != nil {
		return 0, err
	}
	if holds {
		return 0, meta.NameTaken(to)
	}
	return present, nil
}
