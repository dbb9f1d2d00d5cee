package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// UndeleteTag implements meta.TagHistory.
func (s *Store) UndeleteTag(ctx context.Context, u meta.TagUndelete) (oci.Digest, error) {
	return s.Records.UndeleteTag(ctx, u, s.PutManifest, s.moveTag)
}

const (
	lastChange = `
SELECT coalesce(max(version), 0) FROM tag_history WHERE tenant_id = ?1 AND repo_id = ?2 AND name = ?3`

	// What a removal in steps is taking away is gone.
	isPermanent = `
SELECT 1 FROM manifests m
 WHERE m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = ?3 AND m.expire_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM manifest_deletions d WHERE d.tenant_id = ?1 AND d.repo_id = ?2 AND d.digest = ?3)`
)

// refuseChanged refuses to move a tag that was changed since its history was read.
func (t *tx) refuseChanged(id tenant.ID, repo int64, tag string, seen int64) error {
	var last int64
	_, err := t.find(lastChange, []any{id, repo, tag}, &last)
	if err == nil && last != seen {
		err = meta.TagChangedSince(tag)
	}
	return err
}

// moveTag moves a tag to a manifest that is there.
func (s *Store) moveTag(ctx context.Context, m meta.TagMove) error {
	id, tags := m.Repo.Tenant, []string{m.Tag}
	p := meta.ManifestPut{Repo: m.Repo, Manifest: meta.Manifest{Digest: m.Digest}, Tags: tags, By: m.By, Verb: meta.TagUndeleted}
	return s.writeCharged(ctx, id, func(t *tx) (bool, error) {
		repo, err := t.repository(m.Repo, hosted)
		if err != nil {
			return false, err
		}
		by := m.By
		by.ValidateOnly = false // its event is taken back, too
		if err := t.event(by, id, "tag.undelete", target(repo, tags, m.Digest)); err != nil {
			return false, err
		}
		if err := t.refuseChanged(id, repo.id, m.Tag, m.Seen); err != nil {
			return false, err
		}
		found, err := t.find(isPermanent, []any{id, repo.id, m.Digest.Bytes()}, new(int))
		if err == nil && !found {
			err = manifestUnknown(m.Digest.String())
		}
		if err != nil {
			return false, err
		}
		if err := t.refuseOverwrite(by, p, repo.id); err != nil {
			return false, err
		}
		if m.By.ValidateOnly {
			return false, sqlmeta.ErrAlreadyDone
		}
		return false, (&put{tx: t, ManifestPut: p, repo: repo.id, own: m.Digest.Bytes()}).moveTags(tags)
	})
}
