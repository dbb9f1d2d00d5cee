package pgmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// limited is a cache registry that has a limit, in bytes.
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

// leastPulled reads a whole cache, whose limit is $3: the manifests whose time
// must end, and when it would end. They are ranked by their last pull; what an
// index lists goes with it, or with the last of several, unless it was pulled
// since. A blob goes with the last manifest that names it, so that what stays
// after a rank are the blobs whose last manifest is of a later one.
const leastPulled = `
WITH RECURSIVE staying AS MATERIALIZED (
  SELECT m.repo_id, m.digest, m.expire_at
    FROM repositories r
    JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.expire_at > berth_now()
   WHERE r.tenant_id = $1 AND r.registry_id = $2
), listing AS MATERIALIZED (
  SELECT s.repo_id, s.digest AS parent, c.child
    FROM staying s
    JOIN manifest_children c ON c.tenant_id = $1 AND c.repo_id = s.repo_id AND c.parent = s.digest
), tree (repo_id, digest, root, expire_at) AS (
  SELECT s.repo_id, s.digest, s.digest, s.expire_at
    FROM staying s
   WHERE NOT EXISTS (SELECT 1 FROM listing WHERE listing.repo_id = s.repo_id AND listing.child = s.digest)
  UNION
  SELECT t.repo_id, listing.child, t.root, t.expire_at
    FROM tree t
    JOIN listing ON listing.repo_id = t.repo_id AND listing.parent = t.digest
), led AS (
  SELECT DISTINCT ON (s.repo_id, s.digest) s.repo_id, s.digest, s.expire_at,
         greatest(s.expire_at, t.expire_at) AS until, CASE WHEN s.expire_at > t.expire_at THEN s.digest ELSE t.root END AS leader
    FROM staying s
    JOIN tree t ON t.repo_id = s.repo_id AND t.digest = s.digest
   ORDER BY s.repo_id, s.digest, t.expire_at DESC, t.root
), ranked AS MATERIALIZED (
  SELECT repo_id, digest, expire_at, digest = leader AS leads, dense_rank() OVER (ORDER BY until, repo_id, leader) AS rank FROM led
), named AS (
  SELECT mb.digest, max(k.rank) AS last
    FROM ranked k
    JOIN manifest_blobs mb ON mb.tenant_id = $1 AND mb.repo_id = k.repo_id AND mb.manifest = k.digest
    JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest
   GROUP BY mb.digest
), stays AS (
  SELECT n.last, sum(sum(b.size)) OVER (ORDER BY n.last DESC) AS bytes
    FROM named n
    JOIN blobs b ON b.tenant_id = $1 AND b.digest = n.digest
   GROUP BY n.last
)
SELECT repo_id, digest, expire_at FROM ranked
 WHERE rank <= (SELECT max(last) FROM stays WHERE bytes > $3)
 ORDER BY rank, leads DESC LIMIT $4`

// What was pulled, or evicted, since it was read stays as it is.
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
	caches, err := collect(ctx, s, nobody, scanLimited, limitedCaches)
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

// evict ends the time of manifests of one cache, and says of how many.
func (s *Store) evict(ctx context.Context, l limited, limit int) (int, error) {
	var repos []int64
	var digests [][]byte
	var until []time.Time
	err := s.walk(ctx, leastPulled, []any{l.tenant, l.cache, l.bytes, limit}, func(scan scan) error {
		var repo int64
		var d oci.Digest
		var at time.Time
		err := scan(&repo, digest{&d}, moment{&at})
		repos, digests, until = append(repos, repo), append(digests, d.Bytes()), append(until, at)
		return err
	})
	if err != nil || len(repos) == 0 {
		return 0, err
	}
	var n int64
	err = s.write(ctx, nobody, func(t *tx) error {
		t.queue(endManifests, l.tenant, repos, digests, until).Exec(counted(&n))
		return nil
	})
	return int(n), err
}
