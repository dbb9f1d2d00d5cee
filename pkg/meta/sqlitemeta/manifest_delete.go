package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// DeleteManifest implements meta.Manifests.
func (s *Store) DeleteManifest(ctx context.Context, del meta.ManifestDelete) error {
	return s.write(ctx, func(t *tx) error {
		id := del.Repo.Tenant
		repo, err := t.repository(del.Repo, hosted)
		if err != nil {
			return err
		}
		if err := t.event(del.By, id, "manifest.delete", target(repo, nil, del.Digest)); err != nil {
			return err
		}
		if err := t.refuseNamed(del, repo.id); err != nil {
			return err
		}
		var referrers []oci.Digest
		if del.Referrers {
			if referrers, err = t.referrers(id, repo.id, del.Digest); err != nil {
				return err
			}
		}
		found, err := t.deleteManifest(id, repo.id, del.Digest, s.life)
		if err != nil {
			return err
		}
		if !found {
			return manifestUnknown(del.Digest.String())
		}
		for _, d := range referrers {
			if _, err := t.deleteManifest(id, repo.id, d, s.life); err != nil {
				return err
			}
		}
		_, err = t.exec(hideRepository, id, repo.id)
		return err
	})
}

const isManifest = `SELECT 1 FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

const namingIndexes = `
SELECT parent FROM manifest_children WHERE tenant_id = ?1 AND repo_id = ?2 AND child = ?3 AND parent <> ?3 LIMIT ?4`

// What lacks it by a forced deletion lacks it on purpose.
const releaseChild = `UPDATE manifest_children SET held = 0 WHERE tenant_id = ?1 AND repo_id = ?2 AND child = ?3`

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
		return err // an index may name what is not there
	}
	var parents []oci.Digest
	err = t.list(namingIndexes, []any{id, repo, key, meta.MaxParents + 1}, func(scan scan) error {
		var d oci.Digest
		err := scan(digest{&d})
		parents = append(parents, d)
		return err
	})
	if err == nil && len(parents) > 0 {
		err = meta.NamedByIndex(del.Digest, parents)
	}
	return err
}

// What a deleted manifest referenced stays for a while, so that a HEAD that was
// answered 200 still holds for the manifest PUT that follows it.
const keepReferences = `
UPDATE repo_blobs SET keep_until = max(coalesce(keep_until, 0), ?4)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN
       (SELECT mb.digest FROM manifest_blobs mb WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3)`

const clearTags = `
UPDATE tags SET manifest = NULL, version = version + 1 WHERE tenant_id = ?1 AND repo_id = ?2 AND manifest = ?3`

const deleteManifest = `DELETE FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// deleteManifest deletes one manifest with its tags; false when there is none.
func (t *tx) deleteManifest(id tenant.ID, repo int64, d oci.Digest, life meta.Lifetimes) (bool, error) {
	key := d.Bytes()
	if _, err := t.exec(keepReferences, id, repo, key, t.after(life.Released)); err != nil {
		return false, err
	}
	if _, err := t.exec(clearTags, id, repo, key); err != nil {
		return false, err
	}
	n, err := t.exec(deleteManifest, id, repo, key)
	return n > 0, err
}

// What has a manifest as its subject, and their referrers in turn. What an index
// names stays, and so do its referrers.
const referrersToDelete = `
WITH RECURSIVE doomed (digest) AS (
  SELECT ?3
  UNION
  SELECT m.digest
    FROM doomed
   CROSS JOIN manifests m ON m.tenant_id = ?1 AND m.repo_id = ?2 AND m.subject = doomed.digest
   WHERE NOT EXISTS (SELECT 1 FROM manifest_children c WHERE c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = m.digest AND c.parent <> m.digest)
)
SELECT digest FROM doomed WHERE digest <> ?3`

func (t *tx) referrers(id tenant.ID, repo int64, d oci.Digest) ([]oci.Digest, error) {
	var referrers []oci.Digest
	err := t.list(referrersToDelete, []any{id, repo, d.Bytes()}, func(scan scan) error {
		var r oci.Digest
		err := scan(digest{&r})
		referrers = append(referrers, r)
		return err
	})
	return referrers, err
}

const hideRepository = `
UPDATE repositories SET listed = 0
 WHERE tenant_id = ?1 AND id = ?2 AND listed = 1 AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2)`
