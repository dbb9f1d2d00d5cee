package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// repository is the row with which a writing transaction begins.
type repository struct {
	id       int64
	target   string // its name in the audit log
	upstream string // slug of the upstream of a cached one
}

// cached reports whether its content is from an upstream.
func (r repository) cached() bool { return r.upstream != "" }

// kind is what a transaction is about: each kind of repositories does not exist
// for what is about the other.
type kind int

const (
	either kind = iota
	hosted
	cached
)

func (k kind) matches(row repository) bool {
	return k == either || (k == cached) == row.cached()
}

// In the order tenants, registries, repositories: each must be active.
const activeRepository = `
SELECT r.id, g.slug, coalesce(u.slug, '')
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = ?2 AND g.state = 'active'
  JOIN repositories r ON r.tenant_id = t.id AND r.registry_id = g.id AND r.name = ?3 AND r.state = 'active'
  LEFT JOIN upstreams u ON u.tenant_id = g.tenant_id AND u.id = g.upstream_id
 WHERE t.id = ?1 AND t.state = 'active'`

// repository begins a writing transaction: fault.NameUnknown unless the
// repository, its registry and its tenant are all active.
func (t *tx) repository(r meta.Repo, k kind) (repository, error) {
	var row repository
	var registry string
	found, err := t.find(activeRepository, []any{r.Tenant, r.Registry, r.Name}, &row.id, &registry, &row.upstream)
	if err != nil {
		return row, err
	}
	if !found || !k.matches(row) {
		return row, nameUnknown(r)
	}
	parent := sqlmeta.RegistryTarget(registry)
	if row.upstream != "" {
		parent = sqlmeta.UpstreamTarget(row.upstream)
	}
	row.target = parent + "/repositories/" + r.Name
	return row, nil
}

const insertRepository = `
INSERT INTO repositories (tenant_id, registry_id, name, state, created_at)
SELECT t.id, g.id, ?3, 'active', ?4
  FROM tenants t
  JOIN registries g ON g.tenant_id = t.id AND g.id = ?2 AND g.state = 'active'
 WHERE t.id = ?1 AND t.state = 'active'
ON CONFLICT DO NOTHING`

// ensureRepository is repository for pushes; the first push inserts the row.
func (t *tx) ensureRepository(r meta.Repo, k kind) (repository, error) {
	row, err := t.repository(r, k)
	if !fault.Is(err, fault.NameUnknown) {
		return row, err
	}
	if _, err := t.exec(insertRepository, r.Tenant, r.Registry, r.Name, t.now); err != nil {
		return row, err
	}
	return t.repository(r, k)
}

func nameUnknown(r meta.Repo) error {
	return fault.New(fault.NotFound, fault.NameUnknown, "repository %q is not known to this registry", r.Name)
}

const repositoryExists = `
SELECT 1 FROM repositories WHERE tenant_id = ?1 AND registry_id = ?2 AND name = ?3 AND state = 'active'`

// absent is the error of a read that found nothing: absence if the repository
// exists, else fault.NameUnknown.
func (s *Store) absent(ctx context.Context, r meta.Repo, absence error) error {
	var one int
	found, err := s.find(ctx, repositoryExists, []any{r.Tenant, r.Registry, r.Name}, &one)
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
 WHERE tenant_id = ?1 AND registry_id = ?2 AND state = 'active' AND listed = 1 AND name > ?3
 ORDER BY name LIMIT ?4`

// ListRepositories implements meta.Repositories.
func (s *Store) ListRepositories(ctx context.Context, t tenant.ID, r tenant.RegistryID, p meta.Page) ([]string, error) {
	return collect(ctx, s, scanName, listRepositories, t, r, p.After, p.Size)
}

const repositoriesBetween = `
SELECT name FROM repositories
 WHERE tenant_id = ?1 AND registry_id = ?2 AND state = 'active' AND listed = 1 AND name > ?3 AND name < ?4
 ORDER BY name LIMIT ?5`

const repositoriesDescending = `
SELECT name FROM repositories
 WHERE tenant_id = ?1 AND registry_id = ?2 AND state = 'active' AND listed = 1 AND name > ?3 AND name < ?4
 ORDER BY name DESC LIMIT ?5`

// RepositoriesBetween implements meta.Repositories.
func (s *Store) RepositoriesBetween(ctx context.Context, t tenant.ID, r tenant.RegistryID, b meta.Between[string]) ([]string, error) {
	if b.Descending {
		return collect(ctx, s, scanName, repositoriesDescending, t, r, b.After, b.Before, b.Size)
	}
	return collect(ctx, s, scanName, repositoriesBetween, t, r, b.After, b.Before, b.Size)
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
       (SELECT coalesce(sum(b.size), 0) FROM repo_blobs rb JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
         WHERE rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.trashed = 0)
  FROM repositories r
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active' AND r.listed = 1`

// FindRepository implements meta.Repositories. It counts, so its cost grows
// with the repository.
func (s *Store) FindRepository(ctx context.Context, r meta.Repo) (meta.Repository, error) {
	var out meta.Repository
	found, err := s.find(ctx, findRepository, []any{r.Tenant, r.Registry, r.Name},
		&out.Name, sqlmeta.ScanTime(&out.CreatedAt), &out.Manifests, &out.Tags, &out.Size)
	if err == nil && !found {
		err = nameUnknown(r)
	}
	return out, err
}
