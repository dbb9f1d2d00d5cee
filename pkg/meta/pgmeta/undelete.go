package pgmeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// UndeleteManifest implements meta.Trash.
func (s *Store) UndeleteManifest(ctx context.Context, u meta.ManifestUndelete) error {
	return s.Records.UndeleteManifest(ctx, u, s.PutManifest)
}

// trashRow is what the trash has of the manifest that a PutManifest restores.
type trashRow struct {
	restorable bool
	mustHold   []oci.Digest // the children that it held
}

const lockTrash = `
SELECT m.children
  FROM open_repositories r
  JOIN trashed_manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND m.restore_until > berth_now()
   FOR UPDATE OF m`

// The steps of a deletion of its referrers take the same lock.
const (
	lockDeletionsOf = `
SELECT d.op
  FROM open_repositories r
  JOIN referrer_deletions d ON d.tenant_id = r.tenant_id AND d.repo_id = r.id AND d.subject = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
 ORDER BY d.op
   FOR NO KEY UPDATE OF d`

	endDeletionsOf = `DELETE FROM referrer_deletions WHERE tenant_id = $1 AND repo_id = $2 AND subject = $3`
)

// stopDeletion stops the deletion of its referrers, which the janitor may be about to
// continue. It comes right after the repository.
func (p *putting) stopDeletion() {
	p.queue(lockDeletionsOf, p.Repo.Tenant, p.Repo.Registry, p.Repo.Name, p.own)
}

// lockTrash locks the row of the trash after all manifests, also those whose expiry
// ends.
func (p *putting) lockTrash() error {
	if !p.Provisional && len(p.expiring) > 0 {
		p.lockExpiring()
	}
	p.queue(lockTrash, p.Repo.Tenant, p.Repo.Registry, p.Repo.Name, p.own).QueryRow(first(&p.restorable, sqlmeta.ScanDigests(&p.mustHold)))
	return p.flush()
}

const lastChange = `
SELECT coalesce(max(h.version), 0)
  FROM open_repositories r JOIN tag_history h ON h.tenant_id = r.tenant_id AND h.repo_id = r.id
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND h.name = ANY ($4::text[])`

// lastChange reads the history of the one tag, which is locked.
func (p *putting) lastChange() {
	var found bool
	p.queue(lastChange, p.Repo.Tenant, p.Repo.Registry, p.Repo.Name, p.tags).QueryRow(first(&found, &p.changed))
}

// refuseChanged refuses to move a tag that was changed since its history was read.
func (p *putting) refuseChanged() error {
	if p.changed != p.Seen {
		return meta.TagChangedSince(p.tags[0])
	}
	return nil
}

// refuseTaken refuses tags that point to another manifest.
func (p *putting) refuseTaken() error {
	var taken []string
	for tag, old := range p.old {
		if old != nil && !slices.Equal(old, p.own) {
			taken = append(taken, tag)
		}
	}
	if len(taken) > 0 {
		return meta.TagsTaken(taken)
	}
	return nil
}

// A link that is no longer trashed may change what its blob counts as, so blobs are
// locked first.
const (
	lockBlobsToRevive = `
SELECT locked.digest
  FROM (SELECT named.digest FROM unnest($2::bytea[]) AS named (digest) ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT b.digest FROM blobs b
         WHERE b.tenant_id = $1 AND b.digest = wanted.digest
        OFFSET 0
           FOR NO KEY UPDATE OF b) AS locked`

	lockLinksToRevive = `
SELECT held.digest
  FROM (SELECT r.tenant_id, r.id, named.digest
          FROM open_repositories r
         CROSS JOIN unnest($4::bytea[]) AS named (digest)
         WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
         ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT rb.digest FROM repo_blobs rb
         WHERE rb.tenant_id = wanted.tenant_id AND rb.repo_id = wanted.id AND rb.digest = wanted.digest
        OFFSET 0
           FOR NO KEY UPDATE OF rb) AS held`

	reviveLinks = `
UPDATE repo_blobs SET trashed = false WHERE tenant_id = $1 AND repo_id = $2 AND digest = ANY ($3::bytea[]) AND trashed`
)

// lockToRevive comes before the references are locked.
func (p *putting) lockToRevive(blobs [][]byte) {
	p.queue(lockBlobsToRevive, p.Repo.Tenant, blobs)
	p.queue(lockLinksToRevive, p.Repo.Tenant, p.Repo.Registry, p.Repo.Name, blobs)
}

// reviveLinks takes what the manifest holds out of the trash.
func (p *putting) reviveLinks() {
	var held []oci.Digest
	for d := range p.held {
		held = append(held, d)
	}
	p.queue(reviveLinks, p.Repo.Tenant, p.repo.id, stored(held))
}

const (
	lockTrashToLeave = `
SELECT locked.digest
  FROM (SELECT named.digest FROM unnest($3::bytea[]) AS named (digest) ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT m.digest FROM trashed_manifests m
         WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = wanted.digest
        OFFSET 0
           FOR UPDATE) AS locked`

	leaveTrash = `DELETE FROM trashed_manifests WHERE tenant_id = $1 AND repo_id = $2 AND digest = ANY ($3::bytea[])`
)

// leaveTrash deletes the trash of the manifest and its children, which live on.
func (p *putting) leaveTrash() {
	var live []oci.Digest
	for _, d := range p.trashed {
		if _, isChild := p.children[d]; isChild || d == p.Manifest.Digest || slices.Contains(p.Requires, d) {
			live = append(live, d)
		}
	}
	if p.Undelete {
		p.queue(endDeletionsOf, p.Repo.Tenant, p.repo.id, p.own)
	}
	if len(live) > 0 {
		p.queue(lockTrashToLeave, p.Repo.Tenant, p.repo.id, stored(live))
		p.queue(leaveTrash, p.Repo.Tenant, p.repo.id, stored(live))
	}
}

// follows reports whether what it follows is there.
func (p *putting) follows() bool {
	_, there := p.present[p.Follows]
	return there || p.Follows == ""
}

// onlyFollowed reports whether a manifest is locked only since this one follows it.
func (p *putting) onlyFollowed(d oci.Digest) bool {
	_, isChild := p.children[d]
	return d == p.Follows && !isChild
}
