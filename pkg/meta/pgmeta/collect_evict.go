package pgmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// limited is a cache registry that has a limit, in bytes, with those that are kept for it.
type limited struct {
	tenant tenant.ID
	cache  tenant.RegistryID
	bytes  int64
}

func scanLimited(scan scan) (limited, error) {
	var l limited
	err := scan(&l.tenant, &l.cache, &l.bytes)
	return l, err
}

const limitedCaches = `
SELECT tenant_id, cache_id, (settings ->> 'max_bytes')::bigint FROM upstreams WHERE settings ->> 'max_bytes' IS NOT NULL`

// leastPulled reads a whole cache, whose limit is $3, and returns the manifests to expire, with
// their present expiry. Hosted blobs do not count. Manifests are ranked by their last pull. A
// manifest that an index lists has the rank of the last such index, unless it was pulled since. A
// blob has the rank of the last manifest that names it, so that the blobs of later ranks stay.
const leastPulled = `
WITH RECURSIVE tree (repo_id, digest, expire_at, root, until) AS (
  SELECT m.repo_id, m.digest, m.expire_at, m.digest, m.expire_at
    FROM registries g
    JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
    JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.expire_at > berth_now()
   WHERE g.tenant_id = $1 AND (g.id = $2 OR g.kept_for = $2)
     AND (SELECT NOT EXISTS (
         SELECT 1 FROM manifest_children c
          WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest
            AND (SELECT i.expire_at > berth_now() FROM manifests i WHERE i.tenant_id = c.tenant_id AND i.repo_id = c.repo_id AND i.digest = c.parent)))
  UNION
  SELECT t.repo_id, listed.digest, listed.expire_at, t.root, t.until
    FROM tree t
   CROSS JOIN LATERAL (
          SELECT c.child AS digest,
                 (SELECT m.expire_at FROM manifests m WHERE m.tenant_id = c.tenant_id AND m.repo_id = c.repo_id AND m.digest = c.child) AS expire_at
            FROM manifest_children c
           WHERE c.tenant_id = $1 AND c.repo_id = t.repo_id AND c.parent = t.digest OFFSET 0) AS listed
   WHERE listed.expire_at > berth_now()
), led AS (
  SELECT DISTINCT ON (repo_id, digest) repo_id, digest, expire_at,
         greatest(expire_at, until) AS until, CASE WHEN expire_at > until THEN digest ELSE root END AS leader
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
            AND (SELECT NOT EXISTS (
                SELECT 1 FROM repo_blobs h
                  JOIN repositories hr ON hr.tenant_id = h.tenant_id AND hr.id = h.repo_id
                  JOIN registries hg ON hg.tenant_id = hr.tenant_id AND hg.id = hr.registry_id AND hg.upstream_id IS NULL
                 WHERE h.tenant_id = mb.tenant_id AND h.digest = mb.digest))
          OFFSET 0) AS held
   GROUP BY held.digest
), stays AS (
  SELECT n.last, sum(sum(b.size)) OVER (ORDER BY n.last DESC) AS bytes
    FROM named n
   CROSS JOIN LATERAL (SELECT blobs.size FROM blobs WHERE blobs.tenant_id = $1 AND blobs.digest = n.digest OFFSET 0) AS b
   GROUP BY n.last
)
SELECT repo_id, digest, expire_at FROM ranked
 WHERE rank <= (SELECT max(last) FROM stays WHERE bytes > $3)
 ORDER BY rank, leads DESC LIMIT $4`

// Manifests that were pulled or evicted since the read do not change.
const endManifests = `
WITH locked AS MATERIALIZED (
  SELECT due.repo_id, due.digest
    FROM (SELECT * FROM unnest($2::bigint[], $3::bytea[], $4::timestamptz[]) AS l (repo_id, digest, expire_at) ORDER BY l.repo_id, l.digest OFFSET 0) AS wanted
   CROSS JOIN LATERAL (
          SELECT m.repo_id, m.digest FROM manifests m
           WHERE m.tenant_id = $1 AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest AND m.expire_at = wanted.expire_at
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS due
)
UPDATE manifests m SET expire_at = berth_now()
  FROM locked WHERE m.tenant_id = $1 AND m.repo_id = locked.repo_id AND m.digest = locked.digest`

// EvictCached implements meta.CacheCollector. Its cost grows with the caches that
// have a limit.
func (s *Store) EvictCached(ctx context.Context, limit int) (int, error) {
	caches, err := collect(ctx, s, noTenant, scanLimited, limitedCaches)
	work := 0
	for _, l := range caches {
		if err != nil || work >= limit {
			break
		}
		var n int
		n, err = s.evict(ctx, l, limit-work)
		work += n
	}
	return work, err
}

// evict expires manifests of one cache, and returns how many.
func (s *Store) evict(ctx context.Context, l limited, limit int) (int, error) {
	return s.endLeastPulled(ctx, l.tenant, leastPulled, l.tenant, l.cache, l.bytes, limit)
}

// endLeastPulled expires the manifests of a tenant that a query finds.
func (s *Store) endLeastPulled(ctx context.Context, id tenant.ID, query string, args ...any) (int, error) {
	var repos []int64
	var digests [][]byte
	var until []time.Time
	err := s.walk(ctx, query, args, func(scan scan) error {
		var repo int64
		var d oci.Digest
		var at time.Time
		err := scan(&repo, digestScanner{&d}, timeScanner{&at})
		repos, digests, until = append(repos, repo), append(digests, d.Bytes()), append(until, at)
		return err
	})
	if err != nil || len(repos) == 0 {
		return 0, err
	}
	var n int64
	err = s.write(ctx, noTenant, func(t *tx) error {
		t.queue(endManifests, id, repos, digests, until).Exec(counted(&n))
		return nil
	})
	return int(n), err
}
