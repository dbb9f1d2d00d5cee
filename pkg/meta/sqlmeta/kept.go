package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// A kept cache is a cache registry that another password replaced: deleting, with
// an expire_at, and kept_for the active one of the same upstream. Since it is not
// active, nothing reads it or writes to it.
const (
	keepCache = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = berth_now(), expire_at = berth_now() + CAST($3 AS interval)
 WHERE tenant_id = $1 AND id = $2`

	// With those that were kept for it.
	keepCachesFor = `UPDATE registries SET kept_for = $3 WHERE tenant_id = $1 AND (id = $2 OR kept_for = $2)`

	giveUpKeptCaches = `UPDATE registries SET kept_for = NULL, expire_at = NULL WHERE tenant_id = $1 AND kept_for = $2`

	giveUpOldestKept = `
UPDATE registries SET kept_for = NULL, expire_at = NULL
 WHERE tenant_id = $1 AND kept_for = $2 AND id NOT IN (
       SELECT k.id FROM registries k WHERE k.tenant_id = $1 AND k.kept_for = $2 ORDER BY k.id DESC LIMIT $3)`

	findActiveCache = `SELECT id FROM registries WHERE tenant_id = $1 AND id = $2 AND state = 'active' AND upstream_id IS NOT NULL`
	// It waits for the next password, and lets repositories be created.
	lockActiveCache = findActiveCache + ` FOR KEY SHARE`

	findKeptRepository = `
SELECT r.id
  FROM registries g
  JOIN registries k ON k.tenant_id = g.tenant_id AND k.kept_for = g.id AND k.upstream_id = g.upstream_id
                   AND k.state = 'deleting' AND k.expire_at > berth_now()
  JOIN repositories r ON r.tenant_id = k.tenant_id AND r.registry_id = k.id AND r.name = $3 AND r.state = 'active'
 WHERE g.tenant_id = $1 AND g.id = $2
   AND NOT EXISTS (SELECT 1 FROM repositories n WHERE n.tenant_id = g.tenant_id AND n.registry_id = g.id AND n.name = $3 AND n.state = 'active')
 ORDER BY k.id DESC LIMIT 1`
	// It waits for the writers in flight.
	lockKeptRepository = findKeptRepository + ` FOR UPDATE OF r`

	giveUpKeptSQLite = `
UPDATE repositories SET state = 'deleting', listed = 0
 WHERE tenant_id = $1 AND name = $3 AND state = 'active'
   AND registry_id IN (SELECT k.id FROM registries k WHERE k.tenant_id = $1 AND k.kept_for = $2)`

	giveUpKeptPostgres = `
WITH kept AS MATERIALIZED (
  SELECT r.id FROM registries k
    JOIN repositories r ON r.tenant_id = k.tenant_id AND r.registry_id = k.id AND r.name = $3 AND r.state = 'active'
   WHERE k.tenant_id = $1 AND k.kept_for = $2
   ORDER BY r.id FOR UPDATE OF r
)
UPDATE repositories r SET state = 'deleting', listed = false FROM kept WHERE r.tenant_id = $1 AND r.id = kept.id`

	moveRepository = `UPDATE repositories SET registry_id = $3 WHERE tenant_id = $1 AND id = $2 AND state = 'active'`
)

// RotateUpstream implements meta.Upstreams.
func (s *Records) RotateUpstream(ctx context.Context, by meta.Cause, u meta.Upstream) (meta.Upstream, error) {
	err := s.engine.Write(ctx, u.Tenant, func(t Tx) error {
		id, err := setUpstream(t, by, u)
		if err != nil {
			return err
		}
		var before tenant.RegistryID
		if _, err := t.Find(t.Pick(findCache, lockCache), []any{u.Tenant, id}, &before); err != nil {
			return err
		}
		if err := t.Queue(keepCache, u.Tenant, before, t.Interval(meta.KeepUnproved)); err != nil {
			return err
		}
		after, err := s.makeCache(t, u.Tenant, id)
		if err != nil {
			return err
		}
		if err := t.Queue(keepCachesFor, u.Tenant, before, after); err != nil {
			return err
		}
		return t.Queue(giveUpOldestKept, u.Tenant, after, meta.MaxUnproved)
	})
	if err != nil {
		return meta.Upstream{}, err
	}
	return s.FindUpstream(ctx, u.Tenant, u.Slug)
}

// ProveCached implements meta.Cache.
func (s *Records) ProveCached(ctx context.Context, r meta.Repo) error {
	return s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		var cache tenant.RegistryID
		found, err := t.Find(t.Pick(findActiveCache, lockActiveCache), []any{r.Tenant, r.Registry}, &cache)
		if err != nil || !found {
			return err
		}
		var kept int64
		found, err = t.Find(t.Pick(findKeptRepository, lockKeptRepository), []any{r.Tenant, r.Registry, r.Name}, &kept)
		if err != nil || !found {
			return err
		}
		t.OnViolation("repositories_by_name", ErrRestart) // it was created meanwhile
		return t.Queue(moveRepository, r.Tenant, kept, r.Registry)
	})
}

// PurgeUnproved implements meta.Cache.
func (s *Records) PurgeUnproved(ctx context.Context, by meta.Cause, u meta.Upstream, name string) (bool, error) {
	purged := false
	err := s.engine.Write(ctx, u.Tenant, func(t Tx) error {
		n, err := t.Exec(t.Pick(giveUpKeptSQLite, giveUpKeptPostgres), u.Tenant, u.Cache, name)
		purged = n > 0
		if err != nil || !purged {
			return err
		}
		return Event(t, by, u.Tenant, "cache.purge", UpstreamTarget(u.Slug)+"/repositories/"+name)
	})
	return purged, err
}
