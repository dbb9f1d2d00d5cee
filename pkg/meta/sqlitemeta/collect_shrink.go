package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const activeCaches = `
  FROM registries g
 CROSS JOIN upstreams u ON u.tenant_id = g.tenant_id AND u.id = g.upstream_id
 CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
 CROSS JOIN manifests m INDEXED BY manifests_cached ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.expire_at > ?2`

// These run on the read pool, like those of EvictCached.
const (
	fullTenants = `
SELECT tenant_id, lim, used + overhead - cached FROM usage WHERE lim > 0 AND cached > 0 AND used + overhead > lim - lim / ?1`

	// Content that stays cached: repositories, unexpired manifests with their tags,
	// and their blobs.
	stayingBytes = `
SELECT (SELECT coalesce(sum(b.size + 512), 0) FROM blobs b
         WHERE b.tenant_id = ?1 AND b.cached = 1 AND b.digest IN (
               SELECT rb.digest` + activeCaches + `
                CROSS JOIN manifest_blobs mb ON mb.tenant_id = m.tenant_id AND mb.repo_id = m.repo_id AND mb.manifest = m.digest
                CROSS JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest
                WHERE g.tenant_id = ?1 AND g.upstream_id IS NOT NULL))
     + (SELECT coalesce(sum(1024 + m.size + 512 * coalesce(m.refs, 0)
                          + 512 * (SELECT count(*) FROM cache_tags x WHERE x.tenant_id = m.tenant_id AND x.repo_id = m.repo_id AND x.manifest = m.digest)), 0)` + activeCaches + `
         WHERE g.tenant_id = ?1 AND g.upstream_id IS NOT NULL)
     + (SELECT 2048 * count(*) FROM registries g CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
         WHERE g.tenant_id = ?1 AND g.upstream_id IS NOT NULL)`

	// By their last pulls, which is when their time began.
	leastPulledOfTenant = `
SELECT m.repo_id, m.digest, m.expire_at` + activeCaches + `
 WHERE g.tenant_id = ?1 AND g.upstream_id IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_children c CROSS JOIN manifests p ON p.tenant_id = c.tenant_id AND p.repo_id = c.repo_id AND p.digest = c.parent
                    WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest AND p.expire_at > ?2)
 ORDER BY m.expire_at - coalesce(u.settings ->> 'keep', 0) / 1000 LIMIT ?3`

	freedOfTenant = `
SELECT coalesce(sum(b.size + 512), 0)
  FROM manifest_blobs mb
 CROSS JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest
 CROSS JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND b.cached = 1
 WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3
   AND NOT EXISTS (SELECT 1
         FROM repo_blobs o
        CROSS JOIN manifest_blobs n ON n.tenant_id = o.tenant_id AND n.repo_id = o.repo_id AND n.digest = o.digest
        CROSS JOIN manifests m ON m.tenant_id = n.tenant_id AND m.repo_id = n.repo_id AND m.digest = n.manifest
        WHERE o.tenant_id = mb.tenant_id AND o.digest = mb.digest AND m.expire_at > ?4)`
)

// full is a tenant whose quota is nearly used up, by cached content too.
type full struct {
	tenant        tenant.ID
	limit, pushed int64
}

func scanFull(scan scan) (full, error) {
	var f full
	err := scan(&f.tenant, &f.limit, &f.pushed)
	return f, err
}

// ShrinkCached implements meta.CacheCollector.
func (s *Store) ShrinkCached(ctx context.Context, limit int) (int, error) {
	tenants, err := collect(ctx, s, scanFull, fullTenants, meta.CacheRoom)
	work := 0
	for _, f := range tenants {
		if err != nil || work >= limit {
			break
		}
		var n int
		n, err = s.shrink(ctx, f, limit-work)
		work += n
	}
	return work, err
}

// shrink expires manifests of one tenant, of at most limit images and indexes, and
// returns how many.
func (s *Store) shrink(ctx context.Context, f full, limit int) (int, error) {
	now := s.opts.Now().UnixMicro()
	var staying int64
	if _, err := s.find(ctx, stayingBytes, []any{f.tenant, now}, &staying); err != nil {
		return 0, err
	}
	over := f.pushed + staying - (f.limit - f.limit/meta.CacheRoom)
	if over <= 0 {
		return 0, nil
	}
	oldest, err := collect(ctx, s, scanCachedManifest, leastPulledOfTenant, f.tenant, now, limit)
	if err != nil || len(oldest) == 0 {
		return 0, err
	}
	return s.expireOfTenant(ctx, f.tenant, over, oldest)
}

// expireOfTenant expires manifests in order until over bytes are free.
func (s *Store) expireOfTenant(ctx context.Context, id tenant.ID, over int64, oldest []cachedManifest) (int, error) {
	work := 0
	err := s.step(ctx, deployment, func(t *tx) error {
		e := eviction{tx: t, tenant: id, over: over, freed: func(repo int64, d oci.Digest) (int64, error) {
			var bytes int64
			_, err := t.find(freedOfTenant, []any{id, repo, d.Bytes(), t.now}, &bytes)
			return bytes + meta.ManifestCost, err
		}}
		err := e.run(oldest)
		work = e.manifests
		return err
	})
	return work, err
}
