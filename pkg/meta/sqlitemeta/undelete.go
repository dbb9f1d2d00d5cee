package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// UndeleteManifest implements meta.Trash.
func (s *Store) UndeleteManifest(ctx context.Context, u meta.ManifestUndelete) error {
	return s.Records.UndeleteManifest(ctx, u, s.PutManifest)
}

const (
	findTrashed = `
SELECT children FROM trashed_manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND restore_until > ?4`

	endDeletionsOf = `DELETE FROM referrer_deletions WHERE tenant_id = ?1 AND repo_id = ?2 AND subject = ?3`

	tagsOfOthers = `
SELECT g.name
  FROM json_each(?4) j
  JOIN tags g ON g.tenant_id = ?1 AND g.repo_id = ?2 AND g.name = j.value AND g.manifest <> ?3`
)

const findFollowed = `SELECT size FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// takeFromTrash is what a put decides more if it restores the manifest. The steps that
// delete its referrers end with it.
func (p *put) takeFromTrash(tags []string) error {
	if !p.Undelete {
		return nil
	}
	found, err := p.find(findTrashed, []any{p.Repo.Tenant, p.repo, p.own, p.now}, sqlmeta.ScanDigests(&p.mustHold))
	if err == nil && found && p.Follows != "" {
		var size int64
		found, err = p.find(findFollowed, []any{p.Repo.Tenant, p.repo, p.Follows.Bytes()}, &size)
	}
	if err != nil {
		return err
	}
	if !found {
		return meta.NotInTrash(p.Manifest.Digest)
	}
	if err := p.refuseTags(tags); err != nil || p.Provisional {
		return err
	}
	_, err = p.exec(endDeletionsOf, p.Repo.Tenant, p.repo, p.own)
	return err
}

// refuseTags refuses tags that point to another manifest, or, if the one tag moves, that
// changed since its history was read.
func (p *put) refuseTags(tags []string) error {
	if p.Seen != 0 {
		return p.refuseChanged(p.Repo.Tenant, p.repo, tags[0], p.Seen)
	}
	named, err := json.Marshal(append([]string{}, tags...))
	if err != nil {
		return err
	}
	var taken []string
	err = p.list(tagsOfOthers, []any{p.Repo.Tenant, p.repo, p.own, string(named)}, func(scan scan) error {
		name, err := scanName(scan)
		taken = append(taken, name)
		return err
	})
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		return meta.TagsTaken(taken)
	}
	return nil
}

const reviveLinks = `
UPDATE repo_blobs SET trashed = 0
 WHERE tenant_id = ?1 AND repo_id = ?2 AND trashed = 1 AND digest IN (SELECT unhex(j.value) FROM json_each(?3) j)`

// revived returns the blobs that the repository holds, and takes them out of the trash.
func (p *put) revived(digests []oci.Digest) (map[oci.Digest]bool, error) {
	held, released, err := p.held(heldReferences, p.Repo.Tenant, p.repo, digests, p.Undelete)
	if err == nil && len(released) > 0 {
		_, err = p.exec(reviveLinks, p.Repo.Tenant, p.repo, inJSON(released))
	}
	return held, err
}

const (
	leaveTrash = `
DELETE FROM trashed_manifests
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN (SELECT unhex(j.value) FROM json_each(?3) j) AND refs <= ?4`

	// What holds many blobs the janitor removes in steps.
	endLargeTrash = `
UPDATE trashed_manifests SET restore_until = 0
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest IN (SELECT unhex(j.value) FROM json_each(?3) j)`
)

// leaveTrash ends the trash of manifests that live on.
func (t *tx) leaveTrash(id tenant.ID, repo int64, digests []oci.Digest) error {
	if len(digests) == 0 {
		return nil
	}
	n, err := t.exec(leaveTrash, id, repo, inJSON(digests), removeFrom)
	if err == nil && int(n) < len(digests) {
		_, err = t.exec(endLargeTrash, id, repo, inJSON(digests))
	}
	return err
}
