package pgmeta

import (
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// These come before the manifests are deleted, which are locked with their tags. Of a
// manifest that is in the trash already, the later delete counts. What is provisional
// has no trash. Children that an older version put may lack the mark that they are held.
const (
	trashManifests = `
INSERT INTO trashed_manifests (tenant_id, repo_id, digest, media_type, size, refs, subject, payload, tags, children, op, actor, deleted_at, restore_until)
SELECT m.tenant_id, m.repo_id, m.digest, m.media_type, m.size, coalesce(m.refs, 0), m.subject, m.payload,
       coalesce((SELECT json_agg(g.name ORDER BY g.name) FROM tags g WHERE g.tenant_id = m.tenant_id AND g.repo_id = m.repo_id AND g.manifest = m.digest), '[]'),
       coalesce((SELECT json_agg(encode(c.child, 'hex') ORDER BY c.child) FROM manifest_children c
                  WHERE c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.parent = m.digest
                    AND coalesce(c.held, EXISTS (SELECT 1 FROM manifests x WHERE x.tenant_id = c.tenant_id AND x.repo_id = c.repo_id AND x.digest = c.child))), '[]'),
       $4, coalesce((SELECT e.actor FROM events e WHERE e.tenant_id = $1 AND e.op = $4), ''), berth_now(), berth_now() + $5::interval
  FROM unnest($3::bytea[]) AS doomed (digest)
  JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = doomed.digest AND m.expire_at IS NULL
 ORDER BY m.digest
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET subject = excluded.subject, tags = excluded.tags, children = excluded.children,
   op = excluded.op, actor = excluded.actor, deleted_at = excluded.deleted_at, restore_until = excluded.restore_until`

	trashHeld = `
INSERT INTO trashed_blobs (tenant_id, repo_id, manifest, digest)
SELECT m.tenant_id, m.repo_id, m.digest, mb.digest
  FROM unnest($3::bytea[]) AS doomed (digest)
  JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = doomed.digest AND m.expire_at IS NULL
  JOIN manifest_blobs mb ON mb.tenant_id = m.tenant_id AND mb.repo_id = m.repo_id AND mb.manifest = m.digest AND mb.held_repo_id IS NOT NULL
 ORDER BY m.digest, mb.digest
ON CONFLICT DO NOTHING`

	// A child that would expire before its index comes back.
	keepChildren = `
WITH locked AS MATERIALIZED (
  SELECT child.digest
    FROM (SELECT DISTINCT c.child
            FROM unnest($3::bytea[]) AS doomed (digest)
            JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = doomed.digest AND m.expire_at IS NULL
            JOIN manifest_children c ON c.tenant_id = m.tenant_id AND c.repo_id = m.repo_id AND c.parent = m.digest
           ORDER BY c.child OFFSET 0) AS named
   CROSS JOIN LATERAL (
          SELECT m.digest FROM manifests m
           WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = named.child AND m.expire_at < berth_now() + $4::interval
          OFFSET 0
             FOR NO KEY UPDATE) AS child
)
UPDATE manifests m SET expire_at = berth_now() + $4::interval
  FROM locked WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = locked.digest`
)

// queueTrash copies manifests that are locked, and what they hold, into the trash.
func (t *tx) queueTrash(id tenant.ID, repo int64, op uuid.UUID, digests []oci.Digest, window time.Duration) {
	t.queue(trashManifests, id, repo, stored(digests), pgUUID(op), window)
	t.queue(trashHeld, id, repo, stored(digests))
	t.queue(keepChildren, id, repo, stored(digests), window)
}
