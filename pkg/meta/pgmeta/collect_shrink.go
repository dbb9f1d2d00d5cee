package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const fullTenants = `
SELECT u.tenant_id, u.lim - u.lim / $1,
       u.used + u.overhead - u.cached + (SELECT 2048 * count(*) FROM registries g JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
                                          WHERE g.tenant_id = u.tenant_id AND g.upstream_id IS NOT NULL)
  FROM usage u WHERE u.lim > 0 AND u.cached > 0 AND u.used + u.overhead > u.lim - u.lim / $1`

// rankedOfTenant ranks the manifests of all caches of a tenant by their last pulls.
// stays is what the manifests of a rank and of later ones take: only cached content,
// with the charge of each manifest.
const rankedOfTenant = `
WITH RECURSIVE tree (repo_id, digest, expire_at, pulled, root, until) AS (
  SELECT m.repo_id, m.digest, m.expire_at, m.expire_at - c.keep, m.digest, m.expire_at - c.keep
    FROM (SELECT g.id, coalesce((u.settings ->> 'keep')::bigint, 0) / 1000 * interval '1 microsecond' AS keep
            FROM registries g JOIN upstreams u ON u.tenant_id = g.tenant_id AND u.id = g.upstream_id
           WHERE g.tenant_id = $1 AND (g.state = 'active' OR g.kept_for IS NOT NULL) OFFSET 0) AS c
    JOIN repositories r ON r.tenant_id = $1 AND r.registry_id = c.id
    JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.expire_at > berth_now()
   WHERE (SELECT NOT EXISTS (
         SELECT 1 FROM manifest_children c
          WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest
            AND (SELECT i.expire_at > berth_now() FROM manifests i WHERE i.tenant_id = c.tenant_id AND i.repo_id = c.repo_id AND i.digest = c.parent)))
  UNION
  SELECT t.repo_id, listed.digest, listed.expire_at, t.pulled + (listed.expire_at - t.expire_at), t.root, t.until
    FROM tree t
   CROSS JOIN LATERAL (
          SELECT c.child AS digest,
                 (SELECT m.expire_at FROM manifests m WHERE m.tenant_id = c.tenant_id AND m.repo_id = c.repo_id AND m.digest = c.child) AS expire_at
            FROM manifest_children c
           WHERE c.tenant_id = $1 AND c.repo_id = t.repo_id AND c.parent = t.digest OFFSET 0) AS listed
   WHERE listed.expire_at > berth_now()
), led AS (
  SELECT DISTINCT ON (repo_id, digest) repo_id, digest, expire_at,
         greatest(pulled, until) AS until, CASE WHEN pulled > until THEN digest ELSE root END AS leader
    FROM tree
   ORDER BY repo_id, digest, tree.until DESC, root
), ranked AS MATERIALIZED (
  SELECT repo_id, digest, expire_at, digest = leader AS leads, dense_rank() OVER (ORDER BY until, repo_id, leader) AS rank FROM led
), named AS (
  SELECT held.digest, max(k.rank) AS last
    FROM ranked k
   CROSS JOIN LATERAL (
          SELECT mb.digest FROM manifest_blobs mb
           WHERE mb.tenant_id = $1 AND mb.repo_id = k.repo_id AND mb.manifest = k.digest
             AND (SELECT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest))
          OFFSET 0) AS held
   GROUP BY held.digest
), costs (rank, bytes) AS (
  SELECT n.last, b.size + 512
    FROM named n
   CROSS JOIN LATERAL (SELECT blobs.size FROM blobs WHERE blobs.tenant_id = $1 AND blobs.digest = n.digest AND blobs.cached OFFSET 0) AS b
  UNION ALL
  SELECT k.rank, (SELECT 1024 + m.size + 512 * coalesce(m.refs, 0)
                      + 512 * (SELECT count(*) FROM cache_tags x WHERE x.tenant_id = m.tenant_id AND x.repo_id = m.repo_id AND x.manifest = m.digest) FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = k.repo_id AND m.digest = k.digest)
    FROM ranked k
), stays AS (
  SELECT c.rank AS last, sum(sum(c.bytes)) OVER (ORDER BY c.rank DESC) AS bytes FROM costs c GROUP BY c.rank
)`

// leastPulledOfTenant returns what is to expire so that the rest takes at most $2 bytes.
const leastPulledOfTenant = rankedOfTenant + `
SELECT repo_id, digest, expire_at FROM ranked
 WHERE rank <= (SELECT max(last) FROM stays WHERE bytes > $2)
 ORDER BY rank, leads DESC LIMIT $3`

// full is a tenant whose quota is nearly used up, by cached content too.
type full struct {
	tenant       tenant.ID
	most, pushed int64 // pushed: with the repositories of caches, which stay
}

func scanFull(scan scan) (full, error) {
	var f full
	err := scan(&f.tenant, &f.most, &f.pushed)
	return f, err
}

// ShrinkCached implements meta.CacheCollector. Its cost grows with the caches of
// the tenants whose quota is nearly used up.
func (s *Store) ShrinkCached(ctx context.Context, limit int) (int, error) {
	tenants, err := collect(ctx, s, noTenant, scanFull, fullTenants, meta.CacheRoom)
	work := 0
	for _, f := range tenants {
		if err != nil || work >= limit {
			break
		}
		var n int
		n, err = s.endLeastPulled(ctx, f.tenant, leastPulledOfTenant, f.tenant, max(0, f.most-f.pushed), limit-work)
		work += n
	}
	return work, err
}
