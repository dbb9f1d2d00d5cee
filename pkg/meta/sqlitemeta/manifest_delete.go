package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// DeleteManifest implements meta.Manifests.
func (s *Store) DeleteManifest(ctx context.Context, by meta.Cause, r meta.Repo, d oci.Digest, deleteReferrers bool) error {
	return s.write(ctx, func(t *tx) error {
		repo, err := t.repository(r, hosted)
		if err != nil {
			return err
		}
		if err := t.event(by, r.Tenant, "manifest.delete", target(repo, nil, d)); err != nil {
			return err
		}
		found, err := t.deleteManifest(r.Tenant, repo.id, d, s.life)
		if err != nil {
			return err
		}
		if !found {
			return manifestUnknown(d.String())
		}
		if deleteReferrers {
			if err := t.deleteReferrers(r.Tenant, repo.id, d, s.life); err != nil {
				return err
			}
		}
		_, err = t.exec(hideRepository, r.Tenant, repo.id)
		return err
	})
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

const referrersOf = `SELECT digest FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND subject = ?3`

// deleteReferrers deletes what has the deleted manifest as its subject, and
// their referrers in turn. Each is deleted before its own are looked for, so
// that a cycle of subjects ends.
func (t *tx) deleteReferrers(id tenant.ID, repo int64, d oci.Digest, life meta.Lifetimes) error {
	for subjects := []oci.Digest{d}; len(subjects) > 0; subjects = subjects[1:] {
		var referrers []oci.Digest
		err := t.list(referrersOf, []any{id, repo, subjects[0].Bytes()}, func(scan scan) error {
			var r oci.Digest
			err := scan(digest{&r})
			referrers = append(referrers, r)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range referrers {
			if _, err := t.deleteManifest(id, repo, r, life); err != nil {
				return err
			}
		}
		subjects = append(subjects, referrers...)
	}
	return nil
}

const hideRepository = `
UPDATE repositories SET listed = 0
 WHERE tenant_id = ?1 AND id = ?2 AND listed = 1 AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = ?1 AND m.repo_id = ?2)`
