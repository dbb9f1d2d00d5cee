package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PurgeCached implements meta.Cache.
func (s *Store) PurgeCached(ctx context.Context, by meta.Cause, r meta.Repo, ref oci.Reference) error {
	gone := removal{tenant: r.Tenant, digest: ref.Digest}
	err := s.writeFor(ctx, r.Tenant, func(t *tx) error {
		// A repeated request may find the repository deleted.
		if err := t.alreadyDone(by, r.Tenant); err != nil {
			return err
		}
		repo, err := t.repository(r, cached)
		if err != nil {
			return err
		}
		named := repo.target
		switch {
		case ref.Digest != "":
			named = target(repo, nil, ref.Digest)
		case ref.Tag != "":
			named += ":" + ref.Tag
		}
		if err := t.event(by, r.Tenant, "cache.purge", named); err != nil {
			return err
		}
		gone.repo = repo.id
		if ref.Digest != "" {
			if large, err := t.beginRemoval(gone); err != nil || large {
				return err
			}
		}
		return t.purgeCached(r.Tenant, repo.id, ref, s.life)
	})
	if err == nil && ref.Digest != "" && gone.repo != 0 {
		err = s.finishRemoval(ctx, gone)
	}
	return err
}

func (t *tx) purgeCached(id tenant.ID, repo int64, ref oci.Reference, life meta.Lifetimes) error {
	if ref == (oci.Reference{}) {
		_, err := t.exec(markRepositoryDeleting, id, repo)
		return err
	}
	var n int64
	var err error
	if ref.Digest != "" {
		n, err = t.removeCached(id, repo, ref.Digest, life)
	} else {
		n, err = t.exec(dropCachedTag, id, repo, ref.Tag)
	}
	if err == nil && n == 0 {
		err = manifestUnknown(ref.String())
	}
	return err
}

// Fetched blobs are not promised to clients. Hosted blobs may be: after a HEAD with
// 200, the following manifest PUT must still find the blob.
const releaseReferences = `
UPDATE repo_blobs
   SET keep_until = CASE WHEN (SELECT g.upstream_id IS NULL FROM repositories r CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
                                WHERE r.tenant_id = ?1 AND r.id = ?2)
                    THEN max(coalesce(keep_until, 0), ?5) ELSE ?4 END
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN
       (SELECT mb.digest FROM manifest_blobs mb WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3)`

// removeCached removes a manifest with its tags and makes its blobs candidates for
// collection. It returns how many rows it wrote: 0 without the manifest.
func (t *tx) removeCached(id tenant.ID, repo int64, d oci.Digest, life meta.Lifetimes) (int64, error) {
	released, err := t.exec(releaseReferences, id, repo, d.Bytes(), t.now, t.after(life.Released))
	if err != nil {
		return 0, err
	}
	n, err := t.exec(deleteManifest, id, repo, d.Bytes())
	if err != nil || n == 0 {
		return 0, err
	}
	_, err = t.exec(hideRepository, id, repo)
	return released + n, err
}
