package pgmeta

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PurgeDeleted implements meta.Collector. A call does the first step that finds
// work, in a transaction of its own, so that what a step needs gone is gone: the
// marks go down from tenants to repositories, the rows go up from the content
// of a repository to its tenant, which stays as a tombstone. Janitors that meet
// in a step share its rows. What can still be taken back has its expire_at, and
// no step but the first ones looks at it.
func (s *Store) PurgeDeleted(ctx context.Context, limit int) (int, error) {
	for _, step := range []func(t *tx, limit int) (int, error){
		(*tx).giveUpTenants,
		rows(giveUpRegistries),
		rows(markRegistries),
		rows(markRepositories),
		rows(giveUpRepositories),
		rows(purgeDeletions),
		rows(purgeKept),
		s.purgeUploads,
		charging(purgeTags),
		rows(purgeTagHistory),
		charging(purgeCachedTags),
		rows(purgeReferences),
		rows(purgeChildren),
		charging(purgeManifests),
		rows(purgeTrashedBlobs),
		charging(purgeTrash),
		(*tx).purgeLinks,
		charging(purgeRepositories),
		charging(purgeClaims),
		rows(purgeRegistries),
		rows(purgeAccounts),
		rows(purgeGroups),
		rows(markTenantsDeleted),
	} {
		work := 0
		err := s.write(ctx, noTenant, func(t *tx) error {
			var err error
			work, err = step(t, limit)
			return err
		})
		if err != nil || work > 0 {
			return work, err
		}
	}
	if work, err := s.continueDeletion(ctx); err != nil || work > 0 {
		return work, err
	}
	work, failed := s.ContinuePurge(ctx, s.purgeSteps()) // one that fails holds nothing back
	if work > 0 {
		return work, failed
	}
	work, err := s.endCrowded(ctx)
	if err == nil && work == 0 {
		work, err = s.endTrash(ctx, limit)
	}
	return work, errors.Join(failed, err)
}

const (
	dueTenants = `
SELECT id FROM tenants WHERE state = 'deleting' AND expire_at <= berth_now() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED`

	giveUpRegistries = `
WITH due AS (
  SELECT g.tenant_id, g.id FROM registries g
   WHERE g.state = 'deleting' AND g.expire_at <= berth_now() ORDER BY g.tenant_id, g.id LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE registries g SET expire_at = NULL FROM due WHERE g.tenant_id = due.tenant_id AND g.id = due.id`
)

// giveUpTenants begins the removal of a tenant that can no longer be restored.
func (t *tx) giveUpTenants(int) (int, error) {
	var id tenant.ID
	found, err := t.find(dueTenants, nil, &id)
	if err != nil || !found {
		return 0, err
	}
	if err := sqlmeta.GiveUpTenant(t.records(), id); err != nil {
		return 0, err
	}
	return 1, nil
}

// FOR UPDATE waits for the writers in flight.
const (
	markRegistries = `
WITH doomed AS (
  SELECT g.tenant_id, g.id FROM tenants t JOIN registries g ON g.tenant_id = t.id
   WHERE t.state = 'deleting' AND t.expire_at IS NULL AND (g.state = 'active' OR g.expire_at IS NOT NULL)
   ORDER BY g.tenant_id, g.id LIMIT $1 FOR UPDATE OF g
)
UPDATE registries g SET state = 'deleting', expire_at = NULL FROM doomed WHERE g.tenant_id = doomed.tenant_id AND g.id = doomed.id`

	markRepositories = `
WITH doomed AS (
  SELECT r.tenant_id, r.id FROM registries g JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
   WHERE g.state = 'deleting' AND g.expire_at IS NULL AND r.state IN ('active', 'deleted') ORDER BY r.tenant_id, r.id LIMIT $1 FOR UPDATE OF r
)
UPDATE repositories r SET state = 'deleting', listed = false FROM doomed WHERE r.tenant_id = doomed.tenant_id AND r.id = doomed.id`

	// What can no longer be restored.
	giveUpRepositories = `
WITH due AS (
  SELECT r.tenant_id, r.id FROM repositories r
   WHERE r.state = 'deleted' AND r.expire_at <= berth_now() ORDER BY r.expire_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE repositories r SET state = 'deleting' FROM due WHERE r.tenant_id = due.tenant_id AND r.id = due.id`
)

// The content of a few repositories at a time, which are looked up first.
const (
	deletingRepositories = `
WITH deleting AS MATERIALIZED (SELECT tenant_id, id FROM repositories WHERE state = 'deleting' ORDER BY id LIMIT 10)`

	uploadsToPurge = deletingRepositories + `
SELECT u.tenant_id, u.id, u.incarnation, u.tail
  FROM deleting r JOIN uploads u ON u.tenant_id = r.tenant_id AND u.repo_id = r.id
 ORDER BY u.tenant_id, u.id LIMIT $1
   FOR UPDATE OF u SKIP LOCKED`

	purgeDeletions = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.op, held.subject
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT d.tenant_id, d.repo_id, d.op, d.subject FROM referrer_deletions d
           WHERE d.tenant_id = r.tenant_id AND d.repo_id = r.id
           ORDER BY d.op, d.subject LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM referrer_deletions d USING doomed
 WHERE d.tenant_id = doomed.tenant_id AND d.repo_id = doomed.repo_id AND d.op = doomed.op AND d.subject = doomed.subject`
	purgeKept = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.op, held.digest
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT d.tenant_id, d.repo_id, d.op, d.digest FROM kept_referrers d
           WHERE d.tenant_id = r.tenant_id AND d.repo_id = r.id
           ORDER BY d.op, d.digest LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM kept_referrers d USING doomed
 WHERE d.tenant_id = doomed.tenant_id AND d.repo_id = doomed.repo_id AND d.op = doomed.op AND d.digest = doomed.digest`
	purgeTags = deletingRepositories + `, doomed AS (
  SELECT g.tenant_id, g.repo_id, g.name FROM deleting r JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id
   ORDER BY g.tenant_id, g.repo_id, g.name LIMIT $1 FOR UPDATE OF g SKIP LOCKED
)
DELETE FROM tags g USING doomed WHERE g.tenant_id = doomed.tenant_id AND g.repo_id = doomed.repo_id AND g.name = doomed.name
RETURNING doomed.tenant_id`

	purgeTagHistory = deletingRepositories + `, doomed AS (
  SELECT h.tenant_id, h.repo_id, h.name, h.version FROM deleting r JOIN tag_history h ON h.tenant_id = r.tenant_id AND h.repo_id = r.id
   ORDER BY h.tenant_id, h.repo_id, h.name, h.version LIMIT $1 FOR UPDATE OF h SKIP LOCKED
)
DELETE FROM tag_history h USING doomed
 WHERE h.tenant_id = doomed.tenant_id AND h.repo_id = doomed.repo_id AND h.name = doomed.name AND h.version = doomed.version`

	purgeCachedTags = deletingRepositories + `, doomed AS (
  SELECT g.tenant_id, g.repo_id, g.name FROM deleting r JOIN cache_tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id
   ORDER BY g.tenant_id, g.repo_id, g.name LIMIT $1 FOR UPDATE OF g SKIP LOCKED
)
DELETE FROM cache_tags g USING doomed WHERE g.tenant_id = doomed.tenant_id AND g.repo_id = doomed.repo_id AND g.name = doomed.name
RETURNING doomed.tenant_id`

	// They would go with their manifests, but one manifest has 10,000.
	purgeReferences = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.manifest, held.digest
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.manifest, m.digest FROM manifest_blobs m
           WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id
           ORDER BY m.manifest, m.digest LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM manifest_blobs m USING doomed
 WHERE m.tenant_id = doomed.tenant_id AND m.repo_id = doomed.repo_id AND m.manifest = doomed.manifest AND m.digest = doomed.digest`

	purgeChildren = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.parent, held.child
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.parent, m.child FROM manifest_children m
           WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id
           ORDER BY m.parent, m.child LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM manifest_children m USING doomed
 WHERE m.tenant_id = doomed.tenant_id AND m.repo_id = doomed.repo_id AND m.parent = doomed.parent AND m.child = doomed.child`

	purgeManifests = deletingRepositories + `, doomed AS (
  SELECT held.tenant_id, held.repo_id, held.digest
    FROM deleting r
   CROSS JOIN LATERAL (
          SELECT m.tenant_id, m.repo_id, m.digest FROM manifests m
           WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id
             AND (SELECT NOT EXISTS (SELECT 1 FROM tags g WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id))
           ORDER BY m.digest LIMIT $1 FOR UPDATE SKIP LOCKED) AS held
   LIMIT $1
)
DELETE FROM manifests m USING doomed WHERE m.tenant_id = doomed.tenant_id AND m.repo_id = doomed.repo_id AND m.digest = doomed.digest
RETURNING doomed.tenant_id`

	lockBlobsToPurge = deletingRepositories + `
SELECT rb.tenant_id, rb.repo_id, rb.digest
  FROM deleting r
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
 WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id)
   AND NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id)
 ORDER BY b.tenant_id, b.digest LIMIT $1
   FOR NO KEY UPDATE OF b SKIP LOCKED`

	lockLinksToPurge = `
SELECT rb.tenant_id, rb.repo_id, rb.digest
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
  JOIN repo_blobs rb ON rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest
 ORDER BY rb.tenant_id, rb.repo_id, rb.digest
   FOR UPDATE OF rb SKIP LOCKED`

	purgeLinks = `
DELETE FROM repo_blobs rb USING unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS l (tenant_id, repo_id, digest)
 WHERE rb.tenant_id = l.tenant_id AND rb.repo_id = l.repo_id AND rb.digest = l.digest`
)

// Repositories, registries and tenants without content.
const (
	purgeRepositories = `
WITH doomed AS (
  SELECT r.tenant_id, r.id FROM repositories r
   WHERE r.state = 'deleting'
     AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.tenant_id = r.tenant_id AND u.repo_id = r.id)
     AND NOT EXISTS (SELECT 1 FROM tags g WHERE g.tenant_id = r.tenant_id AND g.repo_id = r.id)
     AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id)
     AND NOT EXISTS (SELECT 1 FROM trashed_manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id)
     AND NOT EXISTS (SELECT 1 FROM repo_blobs rb WHERE rb.tenant_id = r.tenant_id AND rb.repo_id = r.id)
   ORDER BY r.tenant_id, r.id LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM repositories r USING doomed WHERE r.tenant_id = doomed.tenant_id AND r.id = doomed.id
RETURNING doomed.tenant_id`

	purgeClaims = `
WITH doomed AS (
  SELECT c.tenant_id, c.registry_id, c.name FROM registries g JOIN name_claims c ON c.tenant_id = g.tenant_id AND c.registry_id = g.id
   WHERE g.state = 'deleting' AND g.expire_at IS NULL ORDER BY c.tenant_id, c.registry_id, c.name LIMIT $1 FOR UPDATE OF c SKIP LOCKED
)
DELETE FROM name_claims c USING doomed
 WHERE c.tenant_id = doomed.tenant_id AND c.registry_id = doomed.registry_id AND c.name = doomed.name
RETURNING doomed.tenant_id`

	purgeRegistries = `
WITH doomed AS (
  SELECT g.tenant_id, g.id FROM registries g
   WHERE g.state = 'deleting' AND g.expire_at IS NULL
     AND NOT EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = g.tenant_id AND r.registry_id = g.id)
     AND NOT EXISTS (SELECT 1 FROM name_claims c WHERE c.tenant_id = g.tenant_id AND c.registry_id = g.id)
   ORDER BY g.tenant_id, g.id LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM registries g USING doomed WHERE g.tenant_id = doomed.tenant_id AND g.id = doomed.id`

	purgeAccounts = `
WITH doomed AS (
  SELECT a.tenant_id, a.id FROM tenants t JOIN accounts a ON a.tenant_id = t.id
   WHERE t.state = 'deleting' AND t.expire_at IS NULL ORDER BY a.tenant_id, a.id LIMIT $1 FOR UPDATE OF a SKIP LOCKED
)
DELETE FROM accounts a USING doomed WHERE a.tenant_id = doomed.tenant_id AND a.id = doomed.id`

	purgeGroups = `
WITH doomed AS (
  SELECT g.tenant_id, g.slug FROM tenants t JOIN upstream_groups g ON g.tenant_id = t.id
   WHERE t.state = 'deleting' AND t.expire_at IS NULL ORDER BY g.tenant_id, g.slug LIMIT $1 FOR UPDATE OF g SKIP LOCKED
)
DELETE FROM upstream_groups g USING doomed WHERE g.tenant_id = doomed.tenant_id AND g.slug = doomed.slug`

	// The audit log stays, and usage falls to 0 as phase C drops the blobs.
	markTenantsDeleted = `
WITH doomed AS (
  SELECT t.id FROM tenants t
   WHERE t.state = 'deleting' AND t.expire_at IS NULL
     AND NOT EXISTS (SELECT 1 FROM registries g WHERE g.tenant_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.tenant_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM upstream_groups g WHERE g.tenant_id = t.id)
   ORDER BY t.id LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE tenants t SET state = 'deleted', version = t.version + 1 FROM doomed WHERE t.id = doomed.id`
)

// rows is a step of one statement.
func rows(query string) func(t *tx, limit int) (int, error) {
	return func(t *tx, limit int) (int, error) {
		n, err := t.exec(query, limit)
		return int(n), err
	}
}

// charging makes a step of a statement as charge takes it.
func charging(query string) func(t *tx, limit int) (int, error) {
	return func(t *tx, limit int) (int, error) { return t.charge(query, limit) }
}

// charge runs a statement that changes what tenants are charged for, and returns the tenant of
// each row. It locks what they use in the order of the tenants: else COMMIT does, in that of the rows.
func (t *tx) charge(query string, args ...any) (int, error) {
	var tenants []int64
	t.queue(query, args...).Query(each(func(scan scan) error {
		var id int64
		err := scan(&id)
		tenants = append(tenants, id)
		return err
	}))
	if err := t.flush(); err != nil || len(tenants) == 0 {
		return 0, err
	}
	t.queue(lockUsage, tenants)
	return len(tenants), nil
}

// purgeUploads deletes sessions and condemns what they staged.
func (s *Store) purgeUploads(t *tx, limit int) (int, error) {
	var sessions, staged keys
	t.queue(uploadsToPurge, limit).Query(each(readSessions(&sessions, &staged)))
	if err := t.flush(); err != nil || sessions.len() == 0 {
		return 0, err
	}
	t.queue(condemnAllStaged, staged.tenants, staged.ids, s.life.StagedDelay)
	t.queue(forgetUploads, sessions.tenants, sessions.ids)
	return sessions.len(), nil
}

// readSessions reads upload sessions and what they staged.
func readSessions(sessions, staged *keys) func(scan) error {
	return func(scan scan) error {
		var u, object, tail blob.Key
		if err := scan(&u.Tenant, uuidScanner{&u.Incarnation}, uuidScanner{&object.Incarnation}, uuidScanner{&tail.Incarnation}); err != nil {
			return err
		}
		object.Tenant, tail.Tenant = u.Tenant, u.Tenant
		sessions.add(u)
		staged.add(object)
		staged.add(tail)
		return nil
	}
}

// purgeLinks unlinks blobs and makes them candidates for phase C.
func (t *tx) purgeLinks(limit int) (int, error) {
	var held, doomed links
	t.queue(lockBlobsToPurge, limit).Query(each(held.read()))
	if err := t.flush(); err != nil || held.len() == 0 {
		return 0, err
	}
	t.queue(lockLinksToPurge, held.tenants, held.repos, held.digests).Query(each(doomed.read()))
	if err := t.flush(); err != nil {
		return 0, err
	}
	t.queue(releaseBlobs, doomed.tenants, doomed.digests)
	t.queue(purgeLinks, doomed.tenants, doomed.repos, doomed.digests)
	t.queue(lockUsage, doomed.tenants)
	return doomed.len(), nil
}
