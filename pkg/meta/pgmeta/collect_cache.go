package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

// What an index that stays lists is kept as long as the index, and for good if
// that has no expiry, being hosted; so it is looked at again only then. Neither this nor expiredManifests locks what it reads.
const keepListed = `
WITH listed AS (
  SELECT m.tenant_id, m.repo_id, m.digest, listing.until
    FROM manifests m
   CROSS JOIN LATERAL (
          SELECT max(coalesce(i.expire_at, 'infinity')) AS until
            FROM manifest_children c
            JOIN manifests i ON i.tenant_id = c.tenant_id AND i.repo_id = c.repo_id AND i.digest = c.parent
           WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest) AS listing
   WHERE m.expire_at <= berth_now() AND listing.until > berth_now()
   ORDER BY m.expire_at LIMIT $1
), locked AS MATERIALIZED (
  SELECT stale.tenant_id, stale.repo_id, stale.digest, wanted.until
    FROM (SELECT * FROM listed ORDER BY tenant_id, repo_id, digest OFFSET 0) AS wanted
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m
           WHERE m.tenant_id = wanted.tenant_id AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest AND m.expire_at < wanted.until
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS stale
)
UPDATE manifests m SET expire_at = nullif(locked.until, 'infinity')
  FROM locked WHERE m.tenant_id = locked.tenant_id AND m.repo_id = locked.repo_id AND m.digest = locked.digest
RETURNING m.tenant_id, m.repo_id, m.digest`

// What was restored with its index stays for good.
const leaveTrashOfListed = `
DELETE FROM trashed_manifests x USING unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE x.tenant_id = l.tenant_id AND x.repo_id = l.repo_id AND x.digest = l.digest
   AND (SELECT m.expire_at IS NULL FROM manifests m WHERE m.tenant_id = x.tenant_id AND m.repo_id = x.repo_id AND m.digest = x.digest)`

const expiredManifests = `
SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m
 WHERE m.expire_at <= berth_now()
   AND (SELECT NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest))
 ORDER BY m.expire_at LIMIT $1`

const (
	// A repository is one janitor's at a time; writers do not wait for it.
	lockExpiring = `
SELECT wanted.tenant_id, wanted.repo_id, wanted.digest
  FROM (SELECT r.tenant_id, r.id
          FROM repositories r
         WHERE (r.tenant_id, r.id) IN (SELECT l.tenant_id, l.repo_id FROM unnest($1::bigint[], $2::bigint[]) AS l (tenant_id, repo_id))
         ORDER BY r.tenant_id, r.id
           FOR NO KEY UPDATE SKIP LOCKED) AS mine
  JOIN unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS wanted (tenant_id, repo_id, digest)
    ON wanted.tenant_id = mine.tenant_id AND wanted.repo_id = mine.id`

	// The links of the blobs that manifests name.
	lockNamedLinks = `
SELECT held.tenant_id, held.repo_id, held.digest
  FROM (SELECT DISTINCT doomed.tenant_id, doomed.repo_id, named.digest
          FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS doomed (tenant_id, repo_id, digest)
         CROSS JOIN LATERAL (
                SELECT mb.digest FROM manifest_blobs mb
                 WHERE mb.tenant_id = doomed.tenant_id AND mb.repo_id = doomed.repo_id AND mb.manifest = doomed.digest OFFSET 0) AS named
         ORDER BY doomed.tenant_id, doomed.repo_id, named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT rb.tenant_id, rb.repo_id, rb.digest FROM repo_blobs rb
         WHERE rb.tenant_id = wanted.tenant_id AND rb.repo_id = wanted.repo_id AND rb.digest = wanted.digest
        OFFSET 0
           FOR NO KEY UPDATE) AS held`

	lockExpired = `
SELECT due.tenant_id, due.repo_id, due.digest
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest) ORDER BY l.tenant_id, l.repo_id, l.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m
         WHERE m.tenant_id = wanted.tenant_id AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest AND m.expire_at <= berth_now()
        OFFSET 0
           FOR UPDATE SKIP LOCKED) AS due`

	// What was fetched is promised to no client. What is hosted may be: a HEAD that
	// was answered 200 still holds for the manifest PUT that follows it.
	releaseLinks = `
UPDATE repo_blobs rb
   SET keep_until = CASE WHEN (SELECT g.upstream_id IS NULL
                                 FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
                                WHERE r.tenant_id = rb.tenant_id AND r.id = rb.repo_id)
                    THEN greatest(rb.keep_until, berth_now() + $4::interval) ELSE berth_now() END
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest`

	// A manifest that was removed and put again between the two locks may name
	// blobs whose links, by $4 to $6, are not locked: it stays for now.
	deleteCached = `
DELETE FROM manifests m USING unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE m.tenant_id = l.tenant_id AND m.repo_id = l.repo_id AND m.digest = l.digest
   AND (SELECT NOT EXISTS (
       SELECT 1 FROM manifest_blobs mb
         JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest
        WHERE mb.tenant_id = m.tenant_id AND mb.repo_id = m.repo_id AND mb.manifest = m.digest
          AND (rb.tenant_id, rb.repo_id, rb.digest) NOT IN (
              SELECT held.tenant_id, held.repo_id, held.digest FROM unnest($4::bigint[], $5::bigint[], $6::bytea[]) AS held (tenant_id, repo_id, digest))))`

	// It sees the indexes that came in while the locks were waited for.
	deleteExpired = deleteCached + `
   AND (SELECT NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.child = m.digest))`

	emptyListed = `
SELECT r.tenant_id, r.id
  FROM repositories r
 WHERE (r.tenant_id, r.id) IN (SELECT l.tenant_id, l.repo_id FROM unnest($1::bigint[], $2::bigint[]) AS l (tenant_id, repo_id))
   AND r.state = 'active' AND r.listed
   AND (SELECT NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id))`
)

// ExpireCached implements meta.CacheCollector.
func (s *Store) ExpireCached(ctx context.Context, limit int) (int, error) {
	removed, err := s.removeExpired(ctx, limit)
	if err != nil || removed >= limit {
		return removed, err
	}
	var kept links
	err = s.write(ctx, noTenant, func(t *tx) error {
		kept = links{}
		t.queue(keepListed, limit-removed).Query(each(kept.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(leaveTrashOfListed, kept.tenants, kept.repos, kept.digests)
		t.queue(lockUsage, kept.tenants)
		return nil
	})
	return removed + kept.len(), err
}

// removeExpired removes manifests that no index lists.
func (s *Store) removeExpired(ctx context.Context, limit int) (int, error) {
	candidates, err := collect(ctx, s, noTenant, scanLink, expiredManifests, limit)
	if err != nil || len(candidates) == 0 {
		return 0, err
	}
	var all links
	for _, l := range candidates {
		all.add(l)
	}
	var removed int64
	err = s.write(ctx, noTenant, func(t *tx) error {
		var mine, released, due links
		t.queue(lockExpiring, all.tenants, all.repos, all.digests).Query(each(mine.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(lockNamedLinks, mine.tenants, mine.repos, mine.digests).Query(each(released.read()))
		t.queue(lockExpired, mine.tenants, mine.repos, mine.digests).Query(each(due.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(releaseLinks, released.tenants, released.repos, released.digests, s.life.Released)
		t.queue(deleteExpired, due.tenants, due.repos, due.digests, released.tenants, released.repos, released.digests).Exec(counted(&removed))
		t.queue(lockUsage, due.tenants)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(removed), s.hideAllEmpty(ctx, all)
}

// hideAllEmpty takes those repositories off their lists that hold no manifest
// any more.
func (s *Store) hideAllEmpty(ctx context.Context, ls links) error {
	type row struct {
		tenant tenant.ID
		repo   int64
	}
	empty, err := collect(ctx, s, noTenant, func(scan scan) (row, error) {
		var r row
		err := scan(&r.tenant, &r.repo)
		return r, err
	}, emptyListed, ls.tenants, ls.repos)
	for _, r := range empty {
		s.hide(ctx, r.tenant, r.repo)
	}
	return err
}
