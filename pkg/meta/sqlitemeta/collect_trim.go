package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const cacheSize = `
SELECT (SELECT coalesce(sum(cached), 0) FROM usage),
       (SELECT coalesce(sum(size), 0) FROM objects WHERE state = 'D' AND cached = 1),
       (SELECT coalesce(sum(off), 0) FROM uploads WHERE state IN ('open', 'sealed') AND cached = 1)`

// CacheSize implements meta.CacheTrimmer.
func (s *Store) CacheSize(ctx context.Context) (meta.CacheSize, error) {
	var size meta.CacheSize
	_, err := s.find(ctx, cacheSize, nil, &size.Cached, &size.Evicted, &size.Staged)
	return size, err
}

const cachingTenants = `SELECT tenant_id, cached FROM usage WHERE cached > 0`

func scanTenantCache(scan scan) (meta.TenantCache, error) {
	var c meta.TenantCache
	err := scan(&c.Tenant, &c.Bytes)
	return c, err
}

const (
	// Links in caches that no manifest names. It runs on the read pool.
	unnamedLinks = `
SELECT rb.tenant_id, rb.repo_id, rb.digest
  FROM registries g
 CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
 CROSS JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
 WHERE g.tenant_id = ?1 AND g.upstream_id IS NOT NULL AND rb.keep_until > ?2 AND rb.keep_until < ?3
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs mb WHERE mb.tenant_id = rb.tenant_id AND mb.repo_id = rb.repo_id AND mb.digest = rb.digest)
 LIMIT ?4`

	releaseUnnamed = `
UPDATE repo_blobs SET keep_until = ?5
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND keep_until < ?4
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs mb WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.digest = ?3)`
)

// TrimCached implements meta.CacheTrimmer.
func (s *Store) TrimCached(ctx context.Context, keep int64, limit int) (int, error) {
	caches, err := collect(ctx, s, scanTenantCache, cachingTenants)
	if err != nil {
		return 0, err
	}
	return meta.TrimShares(caches, keep, limit, func(t tenant.ID, over int64, limit int) (int, error) {
		return s.trim(ctx, t, over, limit)
	})
}

// trim releases unnamed blobs, or else the least recently pulled manifests.
func (s *Store) trim(ctx context.Context, id tenant.ID, over int64, limit int) (int, error) {
	released, err := s.releaseUnnamed(ctx, id, limit)
	if err != nil || released > 0 {
		return released, err // what they free is known once they are collected
	}
	oldest, err := collect(ctx, s, scanCachedManifest, leastPulledOfTenant, id, s.opts.Now().UnixMicro(), limit)
	if err != nil || len(oldest) == 0 {
		return 0, err
	}
	return s.expireOfTenant(ctx, id, over, oldest)
}

// releaseUnnamed makes cached blobs that no manifest names due for collection.
func (s *Store) releaseUnnamed(ctx context.Context, id tenant.ID, limit int) (int, error) {
	now := s.opts.Now()
	before := now.Add(s.life.Grace - meta.UnnamedGrace).UnixMicro()
	unnamed, err := collect(ctx, s, scanLink, unnamedLinks, id, now.UnixMicro(), before, limit)
	if err != nil || len(unnamed) == 0 {
		return 0, err
	}
	released := 0
	err = s.step(ctx, deployment, func(t *tx) error {
		released = 0
		for _, l := range unnamed {
			n, err := t.exec(releaseUnnamed, id, l.repo, l.digest.Bytes(), before, t.now)
			if err != nil {
				return err
			}
			if released += int(n); t.spent() {
				break
			}
		}
		return nil
	})
	return released, err
}
