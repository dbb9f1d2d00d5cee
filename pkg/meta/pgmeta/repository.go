package pgmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// repository is the row with which a writing transaction begins.
type repository struct {
	found  bool
	id     int64
	listed bool
	cached bool // of a cache registry
}

// Pushes are refused in cached repositories, and fetches in hosted ones, as if
// these did not exist.
func (r *repository) isHosted() bool { return r.found && !r.cached }
func (r *repository) isCached() bool { return r.found && r.cached }

// Only the repository's row is locked: its tenant and its registry have one row
// for all pushes, and what is pushed while one of them is being deleted goes
// with the repository, which the janitor locks before it touches the content.
const lockRepository = `
SELECT r.id, r.listed, g.upstream_id IS NOT NULL
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active'
  JOIN repositories r ON r.tenant_id = t.id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
 WHERE t.id = $1 AND t.state = 'active'
   FOR KEY SHARE OF r`

// lockRepository begins a writing transaction: after the next flush, found reports
// whether the repository, its registry and its tenant are all active.
func (t *tx) lockRepository(r meta.Repo) *repository {
	row := new(repository)
	t.queue(lockRepository, r.Tenant, r.Registry, r.Name).QueryRow(first(&row.found, &row.id, &row.listed, &row.cached))
	return row
}

const insertRepository = `
INSERT INTO repositories (tenant_id, registry_id, name, state, created_at)
SELECT t.id, g.id, $3, 'active', berth_now()
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = $2 AND g.state = 'active'
 WHERE t.id = $1 AND t.state = 'active'
   FOR KEY SHARE OF t, g
ON CONFLICT DO NOTHING`

// ensureRepository begins a transaction by the first batch of a push, which queues
// and flushes what it needs and says whether it found the repository. The first
// push makes the row; then the batch runs again. Another transaction may have made
// the row after the batch looked for it: what its later statements locked, or
// wrote, is given back first, since it came before the repository's lock.
func (t *tx) ensureRepository(r meta.Repo, batch func() (bool, error)) error {
	found, err := batch()
	if err != nil || found {
		return err
	}
	t.queue(rollbackTx)
	t.queue(beginTx)
	t.queue(insertRepository, r.Tenant, r.Registry, r.Name)
	t.grew = true
	if err := t.flush(); err != nil {
		return err
	}
	found, err = batch()
	if err == nil && !found {
		err = nameUnknown(r)
	}
	return err
}

// The event of a change in a repository that is locked; its target is the
// repository's name and what follows it. 0 rows: an earlier attempt was
// committed. That must not be said of a registry or tenant that was suspended or
// deleted after the lock, so their states are not looked at.
const insertRepositoryEvent = `
INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id, address, on_behalf, user_agent, changes, pending, hooked)
SELECT r.tenant_id, $4, berth_now(), $5, $6, 'registries/' || g.slug || '/repositories/' || r.name || $7::text, $8, $9, $10, $11, $12, ` + sqlmeta.HasSink + `, ` + sqlmeta.HasWebhook + `
  FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
ON CONFLICT (tenant_id, op) DO NOTHING`

// repositoryEvent queues the event of a change in r; recorded is how many rows
// it became.
func (t *tx) repositoryEvent(by meta.Cause, r meta.Repo, verb, suffix string, recorded *int64) error {
	if by.Op == uuid.Nil {
		return sqlmeta.ErrNoOperation
	}
	t.queue(insertRepositoryEvent, r.Tenant, r.Registry, r.Name, pgUUID(by.Op), by.Actor, verb, suffix, by.RequestID, by.Address, by.OnBehalf, by.UserAgent, meta.EncodeChanges(by.Changes)).Exec(counted(recorded))
	return nil
}

// eventChanges queues what the event of this transaction says more, where it was known
// only after the event.
func (t *tx) eventChanges(by meta.Cause, id tenant.ID, changes []meta.Change) {
	if len(changes) > 0 {
		t.queue(sqlmeta.SetEventChanges, id, pgUUID(by.Op), meta.EncodeChanges(changes))
	}
}

func nameUnknown(r meta.Repo) error {
	return fault.New(fault.NotFound, fault.NameUnknown, "repository %q is not known to this registry", r.Name)
}

const repositoryExists = `
SELECT 1 FROM repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3 AND state = 'active'`

// absent is the error of a read that found nothing: absence if the repository
// exists, else fault.NameUnknown.
func (s *Store) absent(ctx context.Context, r meta.Repo, absence error) error {
	var one int
	found, err := s.find(ctx, r.Tenant, repositoryExists, []any{r.Tenant, r.Registry, r.Name}, &one)
	switch {
	case err != nil:
		return err
	case !found:
		return nameUnknown(r)
	default:
		return absence
	}
}

const listRepositories = `
SELECT name FROM repositories
 WHERE tenant_id = $1 AND registry_id = $2 AND state = 'active' AND listed AND name > $3
 ORDER BY name LIMIT $4`

// ListRepositories implements meta.Repositories.
func (s *Store) ListRepositories(ctx context.Context, t tenant.ID, r tenant.RegistryID, p meta.Page) ([]string, error) {
	return collect(ctx, s, t, scanName, listRepositories, t, r, p.After, p.Size)
}

const repositoriesBetween = `
SELECT name FROM repositories
 WHERE tenant_id = $1 AND registry_id = $2 AND state = 'active' AND listed AND name > $3 AND name < $4
 ORDER BY name LIMIT $5`

const repositoriesDescending = `
SELECT name FROM repositories
 WHERE tenant_id = $1 AND registry_id = $2 AND state = 'active' AND listed AND name > $3 AND name < $4
 ORDER BY name DESC LIMIT $5`

// RepositoriesBetween implements meta.Repositories.
func (s *Store) RepositoriesBetween(ctx context.Context, t tenant.ID, r tenant.RegistryID, b meta.Between[string]) ([]string, error) {
	if b.Descending {
		return collect(ctx, s, t, scanName, repositoriesDescending, t, r, b.After, b.Before, b.Size)
	}
	return collect(ctx, s, t, scanName, repositoriesBetween, t, r, b.After, b.Before, b.Size)
}

func scanName(scan scan) (string, error) {
	var name string
	err := scan(&name)
	return name, err
}

const findRepository = `
SELECT r.name, r.created_at,
       (SELECT count(*) FROM manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id),
       (SELECT count(*) FROM tags g WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id AND g.manifest IS NOT NULL),
       (SELECT coalesce(sum(b.size), 0)::bigint FROM repo_blobs rb JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
         WHERE rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND NOT rb.trashed)
  FROM repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND r.listed`

// FindRepository implements meta.Repositories. It counts, so its cost grows
// with the repository.
func (s *Store) FindRepository(ctx context.Context, r meta.Repo) (meta.Repository, error) {
	var out meta.Repository
	found, err := s.find(ctx, r.Tenant, findRepository, []any{r.Tenant, r.Registry, r.Name},
		&out.Name, timeScanner{&out.CreatedAt}, &out.Manifests, &out.Tags, &out.Size)
	if err == nil && !found {
		err = nameUnknown(r)
	}
	return out, err
}
