package pgmeta

import "context"

const dueTrash = `
SELECT tenant_id, repo_id, digest FROM trashed_manifests WHERE restore_until <= berth_now() ORDER BY restore_until LIMIT $1`

const (
	// The links of the blobs that trashed manifests hold, as lockNamedLinks.
	lockTrashedLinks = `
SELECT held.tenant_id, held.repo_id, held.digest
  FROM (SELECT DISTINCT doomed.tenant_id, doomed.repo_id, named.digest
          FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS doomed (tenant_id, repo_id, digest)
         CROSS JOIN LATERAL (
                SELECT mb.digest FROM trashed_blobs mb
                 WHERE mb.tenant_id = doomed.tenant_id AND mb.repo_id = doomed.repo_id AND mb.manifest = doomed.digest OFFSET 0) AS named
         ORDER BY doomed.tenant_id, doomed.repo_id, named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT rb.tenant_id, rb.repo_id, rb.digest FROM repo_blobs rb
         WHERE rb.tenant_id = wanted.tenant_id AND rb.repo_id = wanted.repo_id AND rb.digest = wanted.digest
        OFFSET 0
           FOR NO KEY UPDATE) AS held`

	lockDueTrash = `
SELECT due.tenant_id, due.repo_id, due.digest
  FROM (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest) ORDER BY l.tenant_id, l.repo_id, l.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT m.tenant_id, m.repo_id, m.digest FROM trashed_manifests m
         WHERE m.tenant_id = wanted.tenant_id AND m.repo_id = wanted.repo_id AND m.digest = wanted.digest AND m.restore_until <= berth_now()
        OFFSET 0
           FOR UPDATE SKIP LOCKED) AS due`

	// What was put and deleted again between the locks may hold blobs whose links, by
	// $4 to $6, are not locked: it stays for now.
	deleteDueTrash = `
DELETE FROM trashed_manifests m USING unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE m.tenant_id = l.tenant_id AND m.repo_id = l.repo_id AND m.digest = l.digest
   AND (SELECT NOT EXISTS (
       SELECT 1 FROM trashed_blobs mb
        WHERE mb.tenant_id = m.tenant_id AND mb.repo_id = m.repo_id AND mb.manifest = m.digest
          AND (mb.tenant_id, mb.repo_id, mb.digest) NOT IN (
              SELECT held.tenant_id, held.repo_id, held.digest FROM unnest($4::bigint[], $5::bigint[], $6::bytea[]) AS held (tenant_id, repo_id, digest))))`

	// Phase B decides what else names them.
	releaseTrashed = `
UPDATE repo_blobs rb SET keep_until = greatest(rb.keep_until, berth_now())
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest`
)

// endTrash ends trash that can no longer be restored.
func (s *Store) endTrash(ctx context.Context, limit int) (int, error) {
	candidates, err := collect(ctx, s, noTenant, scanLink, dueTrash, limit)
	if err != nil || len(candidates) == 0 {
		return 0, err
	}
	var all links
	for _, l := range candidates {
		all.add(l)
	}
	var ended int64
	err = s.write(ctx, noTenant, func(t *tx) error {
		var mine, released, due links
		t.queue(lockExpiring, all.tenants, all.repos, all.digests).Query(each(mine.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(lockTrashedLinks, mine.tenants, mine.repos, mine.digests).Query(each(released.read()))
		t.queue(lockDueTrash, mine.tenants, mine.repos, mine.digests).Query(each(due.read()))
		if err := t.flush(); err != nil {
			return err
		}
		t.queue(deleteDueTrash, due.tenants, due.repos, due.digests, released.tenants, released.repos, released.digests).Exec(counted(&ended))
		t.queue(releaseTrashed, released.tenants, released.repos, released.digests)
		t.queue(lockUsage, due.tenants)
		return nil
	})
	return int(ended), err
}

// The content of repositories that are being deleted, as in purge.go.
const (
	purgeTrashedBlobs = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.manifest, held.digest
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.manifest, m.digest FROM trashed_blobs m
           WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id
           ORDER BY m.manifest, m.digest LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM trashed_blobs m USING doomed
 WHERE m.tenant_id = doomed.tenant_id AND m.repo_id = doomed.repo_id AND m.manifest = doomed.manifest AND m.digest = doomed.digest`

	purgeTrash = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.digest
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.digest FROM trashed_manifests m
           WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id
           ORDER BY m.digest LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM trashed_manifests m USING doomed WHERE m.tenant_id = doomed.tenant_id AND m.repo_id = doomed.repo_id AND m.digest = doomed.digest
RETURNING doomed.tenant_id`
)
