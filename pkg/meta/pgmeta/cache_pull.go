package pgmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// A row is written again when it was stamped longer ago than CachedPull.Age. The indexes that list a manifest
// are kept with it, and those that list them. A row that another transaction
// has locked is being stamped, put or removed.
const recordPulls = `
WITH RECURSIVE pulled (tenant_id, repo_id, digest, keep, age) AS (
  SELECT cached.tenant_id, cached.id, pull.digest, pull.keep, pull.age
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::interval[], $6::interval[]) AS pull (tenant_id, registry_id, name, digest, keep, age)
   CROSS JOIN LATERAL (
          SELECT r.tenant_id, r.id FROM repositories r
           WHERE r.tenant_id = pull.tenant_id AND r.registry_id = pull.registry_id AND r.name = pull.name AND r.state = 'active' OFFSET 0) AS cached
  UNION
  SELECT pulled.tenant_id, pulled.repo_id, listing.parent, pulled.keep, pulled.age
    FROM pulled
   CROSS JOIN LATERAL (
          SELECT c.parent FROM manifest_children c
           WHERE c.tenant_id = pulled.tenant_id AND c.repo_id = pulled.repo_id AND c.child = pulled.digest OFFSET 0) AS listing
), wanted AS (
  SELECT tenant_id, repo_id, digest, max(keep) AS keep, min(age) AS age FROM pulled GROUP BY tenant_id, repo_id, digest ORDER BY tenant_id, repo_id, digest
), locked AS MATERIALIZED (
  SELECT stale.tenant_id, stale.repo_id, stale.digest, wanted.keep
    FROM wanted
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m
           WHERE m.tenant_id = wanted.tenant_id AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest
             AND (m.expire_at > berth_now() + wanted.keep OR m.expire_at < berth_now() + wanted.keep - wanted.age)
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS stale
)
UPDATE manifests m SET expire_at = berth_now() + locked.keep
  FROM locked WHERE m.tenant_id = locked.tenant_id AND m.repo_id = locked.repo_id AND m.digest = locked.digest`

// RecordPulls implements meta.Cache, in one statement.
func (s *Store) RecordPulls(ctx context.Context, pulls []meta.CachedPull) error {
	if len(pulls) == 0 {
		return nil
	}
	var tenants, registries []int64
	var names []string
	var digests [][]byte
	var keeps, ages []time.Duration
	for _, p := range pulls {
		tenants = append(tenants, int64(p.Repo.Tenant))
		registries = append(registries, int64(p.Repo.Registry))
		names = append(names, p.Repo.Name)
		digests = append(digests, p.Digest.Bytes())
		keeps, ages = append(keeps, p.Keep), append(ages, p.Age())
	}
	return s.write(ctx, noTenant, func(t *tx) error {
		t.queue(recordPulls, tenants, registries, names, digests, keeps, ages)
		return nil
	})
}
