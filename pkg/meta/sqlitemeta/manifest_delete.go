package sqlitemeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// DeleteManifest implements meta.Manifests. It removes the manifest at once, or, if
// it is large, in steps, and its referrers in steps. The first transaction decides
// the deletion and records the steps.
func (s *Store) DeleteManifest(ctx context.Context, del meta.ManifestDelete) error {
	id := del.Repo.Tenant
	if del.Evaluated == nil { // else all tags are compared with what was evaluated
		if err := s.untagAhead(ctx, del); err != nil {
			return err
		}
	}
	if err := s.releaseAhead(ctx, del); err != nil {
		return err
	}
	gone := removal{tenant: id, digest: del.Digest}
	err := s.writeFor(ctx, id, func(t *tx) error {
		r, err := t.repository(del.Repo, hosted)
		if err != nil {
			return err
		}
		gone.repo = r.id
		by := del.By
		changes, err := t.goneWith(id, r.id, del.Digest)
		if err != nil {
			return err
		}
		by.Changes = slices.Concat(by.Changes, changes)
		if err := t.event(by, id, "manifest.delete", target(r, nil, del.Digest)); err != nil {
			return err
		}
		if del.Evaluated != nil {
			if err := t.checkDeletion(*del.Evaluated, r.id); err != nil {
				return err
			}
		}
		if err := t.guardDeletion(by, del, r.id); err != nil {
			return err
		}
		if err := t.refuseNamed(del, r.id); err != nil {
			return err
		}
		gone.op = by.Op
		if err := t.trashManifest(gone, s.life); err != nil {
			return err
		}
		large, err := t.beginRemoval(gone)
		if err != nil {
			return err
		}
		if !large {
			found, err := t.deleteManifest(gone, s.life)
			if err != nil {
				return err
			}
			if !found {
				return manifestUnknown(del.Digest.String())
			}
		}
		if del.Referrers {
			if err := t.beginDeletion(deletion{tenant: id, repo: r.id, op: del.By.Op}, del.Digest); err != nil {
				return err
			}
		}
		_, err = t.exec(hideRepository, id, r.id)
		return err
	})
	if err != nil || gone.repo == 0 {
		return err
	}
	if err := s.finishRemoval(ctx, gone); err != nil {
		return err
	}
	if del.Referrers {
		s.finishDeletion(ctx, deletion{tenant: id, repo: gone.repo, op: del.By.Op})
	}
	return nil
}

const isManifest = `SELECT 1 FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

const namingIndexes = `
SELECT parent FROM manifest_children WHERE tenant_id = ?1 AND repo_id = ?2 AND child = ?3 AND parent <> ?3 LIMIT ?4`

// After a forced deletion the index may lack it.
const releaseChild = `
UPDATE manifest_children SET held = 0 WHERE tenant_id = ?1 AND repo_id = ?2 AND child = ?3 AND held IS NOT 0`

const releaseSomeChildren = `
UPDATE manifest_children SET held = 0
 WHERE (tenant_id, repo_id, parent, child) IN
       (SELECT c.tenant_id, c.repo_id, c.parent, c.child FROM manifest_children c
         WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = ?3 AND c.held IS NOT 0 LIMIT ?4)`

// releaseAhead releases a manifest whose deletion is forced from the indexes that
// name it, of which there may be thousands, until few are left. Where the deletion
// fails, fsck misses it less.
func (s *Store) releaseAhead(ctx context.Context, del meta.ManifestDelete) error {
	more := del.Force
	for more {
		err := s.step(ctx, del.Repo.Tenant, func(t *tx) error {
			repo, err := t.repository(del.Repo, hosted)
			if err != nil {
				return err
			}
			for more = true; more && !t.spent(); {
				n, err := t.exec(releaseSomeChildren, del.Repo.Tenant, repo.id, del.Digest.Bytes(), removeBatch)
				if err != nil {
					return err
				}
				more = n == removeBatch
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// refuseNamed refuses a deletion while an index names the manifest, unless it is forced.
func (t *tx) refuseNamed(del meta.ManifestDelete, repo int64) error {
	id, key := del.Repo.Tenant, del.Digest.Bytes()
	if del.Force {
		_, err := t.exec(releaseChild, id, repo, key)
		return err
	}
	var one int
	found, err := t.find(isManifest, []any{id, repo, key}, &one)
	if err != nil || !found {
		return err // an index may name a missing manifest
	}
	var parents []oci.Digest
	err = t.list(namingIndexes, []any{id, repo, key, meta.MaxParents + 1}, func(scan scan) error {
		var d oci.Digest
		err := scan(digestScanner{&d})
		parents = append(parents, d)
		return err
	})
	if err == nil && len(parents) > 0 {
		err = meta.NamedByIndex(del.Digest, parents)
	}
	return err
}

// Blobs of a deleted manifest stay for a while, so that after a HEAD with 200 the
// following manifest PUT still finds them. With a trash (?5), what no other manifest
// holds is trashed.
const keepReferences = `
UPDATE repo_blobs SET keep_until = max(coalesce(keep_until, 0), ?4),
       trashed = trashed OR ?5 AND NOT EXISTS (
           SELECT 1 FROM manifest_blobs live
            WHERE live.tenant_id = ?1 AND live.held_repo_id = ?2 AND live.digest = repo_blobs.digest AND live.manifest <> ?3)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN
       (SELECT mb.digest FROM manifest_blobs mb WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3)`

const deleteManifest = `DELETE FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// deleteManifest deletes one manifest with its tags; false when it does not exist.
func (t *tx) deleteManifest(r removal, life meta.Lifetimes) (bool, error) {
	key := r.digest.Bytes()
	if err := t.trashHeld(r, life); err != nil {
		return false, err
	}
	if _, err := t.exec(keepReferences, r.tenant, r.repo, key, t.after(released(life)), life.Undelete > 0); err != nil {
		return false, err
	}
	if _, err := t.untagSome(r.tenant, r.repo, r.digest, r.op, allTags); err != nil {
		return false, err
	}
	n, err := t.exec(deleteManifest, r.tenant, r.repo, key)
	return n > 0, err
}

const hideRepository = `
UPDATE repositories SET listed = 0
 WHERE tenant_id = ?1 AND id = ?2 AND listed = 1 AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2)`
