package sqlitemeta

import (
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const (
	// A later delete of the same manifest counts; the steps of a removal are of the
	// delete that began it. What is provisional has no trash. Children that an older
	// version put may lack the mark that they are held.
	trashManifest = `
INSERT INTO trashed_manifests (tenant_id, repo_id, digest, media_type, size, refs, subject, payload, tags, children, op, actor, deleted_at, restore_until)
SELECT m.tenant_id, m.repo_id, m.digest, m.media_type, m.size, coalesce(m.refs, 0), m.subject, m.payload,
       (SELECT json_group_array(g.name ORDER BY g.name) FROM tags g WHERE g.tenant_id = ?1 AND g.repo_id = ?2 AND g.manifest = ?3),
       (SELECT json_group_array(lower(hex(c.child))) FROM manifest_children c
         WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.parent = ?3
           AND coalesce(c.held, EXISTS (SELECT 1 FROM manifests x WHERE x.tenant_id = ?1 AND x.repo_id = ?2 AND x.digest = c.child))),
       ?4, coalesce((SELECT e.actor FROM events e WHERE e.tenant_id = ?1 AND e.op = ?4), ''), ?5, ?6
  FROM manifests m
 WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3 AND m.expire_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_deletions d WHERE d.tenant_id = ?1 AND d.repo_id = ?2 AND d.digest = ?3)
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET subject = excluded.subject, tags = excluded.tags, children = excluded.children,
   op = excluded.op, actor = excluded.actor, deleted_at = excluded.deleted_at, restore_until = excluded.restore_until`

	// A child that would expire before its index comes back.
	keepChildren = `
UPDATE manifests SET expire_at = ?4
 WHERE tenant_id = ?1 AND repo_id = ?2 AND expire_at < ?4
   AND digest IN (SELECT c.child FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.parent = ?3)
   AND EXISTS (SELECT 1 FROM trashed_manifests x WHERE x.tenant_id = ?1 AND x.repo_id = ?2 AND x.digest = ?3)`

	isTrashed = `
SELECT 1 FROM trashed_manifests x
  JOIN manifests m ON m.tenant_id = x.tenant_id AND m.repo_id = x.repo_id AND m.digest = x.digest AND m.expire_at IS NULL
 WHERE x.tenant_id = ?1 AND x.repo_id = ?2 AND x.digest = ?3`

	trashHeld = `
INSERT INTO trashed_blobs (tenant_id, repo_id, manifest, digest)
SELECT mb.tenant_id, mb.repo_id, mb.manifest, mb.digest FROM manifest_blobs mb
 WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3 AND mb.held_repo_id IS NOT NULL
ON CONFLICT DO NOTHING`

	// CROSS JOIN keeps the order: from the few of a step.
	trashSome = `
INSERT INTO trashed_blobs (tenant_id, repo_id, manifest, digest)
SELECT mb.tenant_id, mb.repo_id, mb.manifest, mb.digest
  FROM json_each(?4) j
 CROSS JOIN manifest_blobs mb ON mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3 AND mb.digest = unhex(j.value) AND mb.held_repo_id IS NOT NULL
 WHERE true
ON CONFLICT DO NOTHING`
)

// released is how long the blobs of a deleted manifest stay for a HEAD that found them:
// trash that is ended early has to make room.
func released(life meta.Lifetimes) time.Duration {
	if life.Undelete > 0 {
		return life.HeadGrace
	}
	return life.Released
}

// trashManifest copies a manifest that is deleted into the trash. What it holds
// follows with its removal.
func (t *tx) trashManifest(r removal, life meta.Lifetimes) error {
	if life.Undelete == 0 {
		return nil
	}
	key, until := r.digest.Bytes(), t.after(life.Undelete)
	n, err := t.exec(trashManifest, r.tenant, r.repo, key, r.op[:], t.now, until)
	if err == nil && n > 0 {
		_, err = t.exec(keepChildren, r.tenant, r.repo, key, until)
	}
	return err
}

// trashHeld copies what a manifest in the trash holds.
func (t *tx) trashHeld(r removal, life meta.Lifetimes) error {
	if life.Undelete == 0 {
		return nil
	}
	inTrash, err := t.find(isTrashed, []any{r.tenant, r.repo, r.digest.Bytes()}, new(int))
	if err == nil && inTrash {
		_, err = t.exec(trashHeld, r.tenant, r.repo, r.digest.Bytes())
	}
	return err
}

// trashSome is trashHeld for a step of a removal. It says whether the manifest is in
// the trash.
func (t *tx) trashSome(r removal, some []oci.Digest) (bool, error) {
	inTrash, err := t.find(isTrashed, []any{r.tenant, r.repo, r.digest.Bytes()}, new(int))
	if err == nil && inTrash {
		_, err = t.exec(trashSome, r.tenant, r.repo, r.digest.Bytes(), inJSON(some))
	}
	return inTrash, err
}
