package pgmeta

import (
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// A blob that was missing at an earlier PUT may be held now.
const linkBlobs = `
INSERT INTO manifest_blobs (tenant_id, repo_id, manifest, digest, held_repo_id)
SELECT $1, $2, $3, referenced.digest, $5 FROM unnest($4::bytea[]) AS referenced (digest) ORDER BY referenced.digest
ON CONFLICT (tenant_id, repo_id, manifest, digest) DO UPDATE SET held_repo_id = excluded.held_repo_id
 WHERE manifest_blobs.held_repo_id IS NULL AND excluded.held_repo_id IS NOT NULL`

const linkChildren = `
INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held)
SELECT $1, $2, $3, listed.digest, $5 FROM unnest($4::bytea[]) AS listed (digest) ORDER BY listed.digest
ON CONFLICT (tenant_id, repo_id, parent, child) DO UPDATE SET held = excluded.held
 WHERE manifest_children.held IS NOT TRUE AND excluded.held`

const claimName = `
INSERT INTO name_claims (tenant_id, registry_id, name, since) VALUES ($1, $2, $3, berth_now())
ON CONFLICT (tenant_id, registry_id, name) DO NOTHING`

const showRepository = `UPDATE repositories SET listed = true WHERE tenant_id = $1 AND id = $2 AND NOT listed`

// moved are the tags that pointed to other manifests.
func (p *putting) moved() []meta.Change {
	var moves meta.TagMoves
	for _, tag := range p.tags {
		old, err := oci.DigestFromBytes(p.old[tag])
		if err == nil {
			moves.Add(tag, old, p.Manifest.Digest)
		}
	}
	return moves.Changes
}

// changeEvent queues what the event says more than its cause.
func (p *putting) changeEvent() {
	more := slices.Concat(p.overridden, p.moved())
	if p.Seen != 0 {
		more = p.overridden // the cause says how its tag moves
	}
	if len(more) > 0 {
		p.eventChanges(p.By, p.Repo.Tenant, slices.Concat(more, p.By.Changes))
	}
}

// link queues the second batch.
func (p *putting) link() {
	t, repo := p.Repo.Tenant, p.repo.id
	var held, lacking []oci.Digest
	for d := range p.blobs {
		if p.held[d] {
			held = append(held, d)
		} else {
			lacking = append(lacking, d)
		}
	}
	if len(held) > 0 {
		p.queue(linkBlobs, t, repo, p.own, stored(held), repo)
	}
	if len(lacking) > 0 {
		p.queue(linkBlobs, t, repo, p.own, stored(lacking), nil)
	}
	held, lacking = nil, nil
	for d := range p.children {
		if _, there := p.present[d]; there {
			held = append(held, d)
		} else {
			lacking = append(lacking, d)
		}
	}
	if len(held) > 0 {
		p.queue(linkChildren, t, repo, p.own, stored(held), true)
	}
	if len(lacking) > 0 {
		p.queue(linkChildren, t, repo, p.own, stored(lacking), false)
	}
	if kept := p.Staying(); len(kept) > 0 {
		p.queue(keepReferrers, t, repo, stored(kept))
	}
	p.changeEvent()
	p.moveTags()
	if !p.repo.listed && !p.repo.cached && !p.Provisional {
		// From its first committed manifest on the name is claimed: no upstream is asked
		// for it, even after deletions.
		p.queue(claimName, t, p.Repo.Registry, p.Repo.Name)
		p.queue(showRepository, t, repo)
	}
}
