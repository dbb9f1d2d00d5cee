package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const cacheSize = `
SELECT (SELECT coalesce(sum(cached), 0)::bigint FROM usage),
       (SELECT coalesce(sum(size), 0)::bigint FROM objects WHERE state = 'D' AND cached),
       (SELECT coalesce(sum(off), 0)::bigint FROM uploads WHERE state IN ('open', 'sealed') AND cached)`

// CacheSize implements meta.CacheTrimmer.
func (s *Store) CacheSize(ctx context.Context) (meta.CacheSize, error) {
	var size meta.CacheSize
	_, err := s.find(ctx, noTenant, cacheSize, nil, &size.Cached, &size.Evicted, &size.Staged)
	return size, err
}

const cachingTenants = `SELECT tenant_id, cached FROM usage WHERE cached > 0`

func scanTenantCache(scan scan) (meta.TenantCache, error) {
	var c meta.TenantCache
	err := scan(&c.Tenant, &c.Bytes)
	return c, err
}

const (
	// leastPulledBeyond returns manifests of a tenant whose expiry frees at least $2 bytes.
	leastPulledBeyond = rankedOfTenant + `
SELECT repo_id, digest, expire_at FROM ranked
 WHERE rank <= (SELECT max(last) FROM stays WHERE bytes > (SELECT max(bytes) FROM stays) - $2)
 ORDER BY rank, leads DESC LIMIT $3`

	// Links in caches that no manifest names.
	releaseUnnamed = `
WITH unnamed AS (
  SELECT rb.repo_id, rb.digest
    FROM registries g
    JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
    JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
   WHERE g.tenant_id = $1 AND g.upstream_id IS NOT NULL
     AND rb.keep_until > berth_now() AND rb.keep_until < berth_now() + $2::interval
     AND NOT EXISTS (SELECT 1 FROM manifest_blobs mb WHERE mb.tenant_id = rb.tenant_id AND mb.repo_id = rb.repo_id AND mb.digest = rb.digest)
   LIMIT $3
), locked AS MATERIALIZED (
  SELECT held.repo_id, held.digest
    FROM (SELECT * FROM unnamed ORDER BY repo_id, digest OFFSET 0) AS wanted
   CROSS JOIN LATERAL (
          SELECT rb.repo_id, rb.digest FROM repo_blobs rb
           WHERE rb.tenant_id = $1 AND rb.repo_id = wanted.repo_id AND rb.digest = wanted.digest AND rb.keep_until < berth_now() + $2::interval
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS held
)
UPDATE repo_blobs rb SET keep_until = berth_now()
  FROM locked WHERE rb.tenant_id = $1 AND rb.repo_id = locked.repo_id AND rb.digest = locked.digest`
)

// TrimCached implements meta.CacheTrimmer. Its cost grows with the caches of the
// tenants above their share.
func (s *Store) TrimCached(ctx context.Context, keep int64, limit int) (int, error) {
	caches, err := collect(ctx, s, noTenant, scanTenantCache, cachingTenants)
	if err != nil {
		return 0, err
	}
	return meta.TrimShares(caches, keep, limit, func(t tenant.ID, over int64, limit int) (int, error) {
		return s.trim(ctx, t, over, limit)
	})
}

// trim releases unnamed blobs, or else the least recently pulled manifests.
func (s *Store) trim(ctx context.Context, id tenant.ID, over int64, limit int) (int, error) {
	var released int64
	err := s.write(ctx, noTenant, func(t *tx) error {
		var err error
		released, err = t.exec(releaseUnnamed, id, s.life.Grace-meta.UnnamedGrace, limit)
		return err
	})
	if err != nil || released > 0 {
		return int(released), err // what they free is known once they are collected
	}
	return s.endLeastPulled(ctx, id, leastPulledBeyond, id, over, limit)
}
