package sqlitemeta

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PutManifest implements meta.Manifests; the order is that of protocol section 5.
func (s *Store) PutManifest(ctx context.Context, p meta.ManifestPut) error {
	if err := p.CheckTags(); err != nil {
		return translate(err)
	}
	return s.afterRemoval(ctx, p.Repo, p.Manifest.Digest, func() error {
		if p.By.ValidateOnly || len(p.Parsed.Blobs)+len(p.Parsed.Children) <= aheadFrom {
			return s.putManifest(ctx, p)
		}
		return s.putInSteps(ctx, p)
	})
}

func (s *Store) putManifest(ctx context.Context, p meta.ManifestPut) error {
	tags := slices.Compact(slices.Sorted(slices.Values(p.Tags)))
	return s.writeCharged(ctx, p.Repo.Tenant, func(t *tx) (bool, error) {
		repo, err := t.ensureRepository(p.Repo, hosted)
		if err != nil {
			return false, err
		}
		if err := t.refuseGoing(p.Repo.Tenant, repo.id, p.Manifest.Digest); err != nil {
			return false, err
		}
		put := &put{tx: t, ManifestPut: p, repo: repo.id, own: p.Manifest.Digest.Bytes()}
		by := p.By
		by.ValidateOnly = false // its event is taken back, too
		if p.Seen == 0 {
			moves, err := t.moves(p.Repo.Tenant, repo.id, tags, p.Manifest.Digest)
			if err != nil {
				return false, err
			}
			by.Changes = slices.Concat(by.Changes, moves)
		}
		if err := t.event(by, p.Repo.Tenant, p.EventVerb(), target(repo, tags, p.Manifest.Digest)); err != nil {
			return false, err
		}
		if err := put.takeFromTrash(tags); err != nil {
			return false, err
		}
		if err := t.refuseOverwrite(by, p, repo.id); err != nil {
			return false, err
		}
		if p.Gates != nil {
			var now meta.GateVersions
			if err := t.list(sqlmeta.ActivePromotionGates, []any{p.Repo.Tenant}, sqlmeta.ReadGateVersions(&now)); err != nil {
				return false, err
			}
			if err := p.CheckGates(now); err != nil {
				return false, err
			}
		}
		if p.By.ValidateOnly {
			return false, sqlmeta.ErrAlreadyDone
		}
		if err := put.store(s.life.Grace); err != nil {
			return false, err
		}
		held, lacking, err := put.references()
		if err != nil {
			return false, err
		}
		if err := put.children(); err != nil {
			return false, err
		}
		if err := put.requires(); err != nil {
			return false, err
		}
		if err := put.missing.Fault(); err != nil {
			return false, err
		}
		if err := put.stay(); err != nil {
			return false, err
		}
		if kept := p.Staying(); len(kept) > 0 {
			if _, err := t.exec(keepReferrers, p.Repo.Tenant, repo.id, inJSON(kept)); err != nil {
				return false, err
			}
		}
		if err := put.link(held, lacking); err != nil {
			return false, err
		}
		if err := put.moveTags(tags); err != nil {
			return false, err
		}
		return false, put.claim()
	})
}

// target is "registries/dev/repositories/app:v1,v2@sha256:…".
func target(repo repository, tags []string, d oci.Digest) string {
	named := repo.target
	if len(tags) > 0 {
		named += ":" + strings.Join(tags, ",")
	}
	return named + "@" + d.String()
}

// put is one running PutManifest.
type put struct {
	*tx
	meta.ManifestPut
	repo     int64
	own      []byte
	missing  meta.Missing
	expiring []oci.Digest // the manifest and those of its children that expire
	trashed  []oci.Digest // those that are in the trash, too
	mustHold []oci.Digest // the children that it held, if it is restored
}

// inJSON is a set of digests as an argument: a JSON array of hexadecimal text, read
// by json_each and unhex.
func inJSON(digests []oci.Digest) string {
	text := []byte{'['}
	for i, d := range digests {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(hex.AppendEncode(append(text, '"'), d.Bytes()), '"')
	}
	return string(append(text, ']'))
}

const heldReferences = `
SELECT rb.digest, rb.trashed
  FROM json_each(?3) j
  JOIN repo_blobs rb ON rb.tenant_id = ?1 AND rb.repo_id = ?2 AND rb.digest = unhex(j.value)
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND (b.suspect = 0 OR ?4)`

// references splits the referenced blobs into those that the repository holds and
// those that it may lack. A suspect blob is absent, but for what is restored: it was
// held.
func (p *put) references() ([]oci.Digest, []oci.Digest, error) {
	required := map[oci.Digest]bool{}
	for _, d := range p.Parsed.Blobs {
		required[d.Digest] = required[d.Digest] || !d.Foreign() && !p.AllowMissingReferences
	}
	linked, err := p.linked(linksToBlobs, len(required))
	if err != nil {
		return nil, nil, err
	}
	var unsure []oci.Digest
	for _, d := range slices.Sorted(maps.Keys(required)) {
		if !linked[d] {
			unsure = append(unsure, d)
		}
	}
	present, err := p.revived(unsure)
	if err != nil {
		return nil, nil, err
	}
	var held, lacking []oci.Digest
	for _, d := range unsure {
		_, there := linked[d]
		switch {
		case present[d]:
			held = append(held, d)
		case required[d]:
			p.missing.Blobs = append(p.missing.Blobs, d)
		case !there:
			lacking = append(lacking, d)
		}
	}
	return held, lacking, nil
}

const (
	// A link that is held keeps the blob in the repository.
	linksToBlobs = `
SELECT mb.digest, mb.held_repo_id IS NOT NULL AND b.suspect = 0
  FROM manifest_blobs mb LEFT JOIN blobs b ON b.tenant_id = mb.tenant_id AND b.digest = mb.digest
 WHERE mb.tenant_id = ?1 AND mb.repo_id = ?2 AND mb.manifest = ?3`

	linksToChildren = `
SELECT child, coalesce(held, 0) FROM manifest_children WHERE tenant_id = ?1 AND repo_id = ?2 AND parent = ?3`
)

// linked are the existing links of a manifest of many references, and whether they
// are held; it does not query for a manifest of few.
func (p *put) linked(query string, references int) (map[oci.Digest]bool, error) {
	if references <= aheadFrom {
		return nil, nil
	}
	links := make(map[oci.Digest]bool, references)
	err := p.list(query, []any{p.Repo.Tenant, p.repo, p.own}, func(scan scan) error {
		var d oci.Digest
		var held sql.NullBool
		err := scan(digestScanner{&d}, &held)
		links[d] = held.Bool
		return err
	})
	return links, err
}

// held returns the blobs that the repository holds, by a statement like heldReferences,
// and those of them that a delete released.
func (t *tx) held(query string, id tenant.ID, repo int64, digests []oci.Digest, suspect bool) (map[oci.Digest]bool, []oci.Digest, error) {
	held := make(map[oci.Digest]bool, len(digests))
	var released []oci.Digest
	err := t.list(query, []any{id, repo, inJSON(digests), suspect}, func(scan scan) error {
		var d oci.Digest
		var trashed bool
		err := scan(digestScanner{&d}, &trashed)
		held[d] = true
		if trashed {
			released = append(released, d)
		}
		return err
	})
	return held, released, err
}

const insertManifest = `
INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, created_at, payload, expire_at, refs, pushed_by)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (tenant_id, repo_id, digest) DO NOTHING`

// A permanent manifest does not expire.
const prolongProvisional = `
UPDATE manifests SET expire_at = max(expire_at, ?4) WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND expire_at IS NOT NULL`

// store stores a pushed or adopted manifest.
func (p *put) store(grace time.Duration) error {
	if !p.Provisional {
		if _, err := p.manifest(nil); err != nil {
			return err
		}
		return p.sameType()
	}
	isNew, err := p.manifest(p.after(grace))
	if err == nil && !isNew {
		_, err = p.exec(prolongProvisional, p.Repo.Tenant, p.repo, p.own, p.after(grace))
	}
	if err != nil {
		return err
	}
	return p.sameType()
}

// The + keeps SQLite from going through all that expires in the repository.
const endExpiry = `
UPDATE manifests SET expire_at = NULL
 WHERE tenant_id = ?1 AND repo_id = ?2 AND +expire_at IS NOT NULL AND digest IN (SELECT unhex(j.value) FROM json_each(?3) j)`

// stay ends the expiry of the manifest and its children, and their trash, unless the
// put is provisional.
func (p *put) stay() error {
	if p.Provisional {
		return nil
	}
	if len(p.expiring) > 0 {
		if _, err := p.exec(endExpiry, p.Repo.Tenant, p.repo, inJSON(p.expiring)); err != nil {
			return err
		}
	}
	return p.leaveTrash(p.Repo.Tenant, p.repo, p.trashed)
}

const storedMediaType = `
SELECT media_type, expire_at IS NOT NULL,
       EXISTS (SELECT 1 FROM trashed_manifests x WHERE x.tenant_id = ?1 AND x.repo_id = ?2 AND x.digest = ?3)
  FROM manifests WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// manifest stores the manifest unless it exists, and reports whether it did.
// expireAt is nil for a hosted one.
func (p *put) manifest(expireAt any) (bool, error) {
	var subject []byte
	annotations := []byte("{}")
	if p.Parsed.Subject != nil {
		subject = p.Parsed.Subject.Digest.Bytes()
		if len(p.Parsed.Annotations) > 0 {
			var err error
			if annotations, err = json.Marshal(p.Parsed.Annotations); err != nil {
				return false, err
			}
		}
	}
	m := p.Manifest
	n, err := p.exec(insertManifest, p.Repo.Tenant, p.repo, p.own, m.MediaType, len(m.Payload),
		subject, p.Parsed.ReferrerType(), string(annotations), p.now, m.Payload, expireAt, meta.CountReferences(p.Parsed), p.Pusher())
	return n > 0, err
}

// sameType refuses a manifest that is stored with another media type, which never
// changes.
func (p *put) sameType() error {
	var stored string
	var expires, trashed bool
	if _, err := p.find(storedMediaType, []any{p.Repo.Tenant, p.repo, p.own}, &stored, &expires, &trashed); err != nil {
		return err
	}
	if trashed {
		p.trashed = append(p.trashed, p.Manifest.Digest)
	}
	if expires {
		p.expiring = append(p.expiring, p.Manifest.Digest)
	}
	if m := p.Manifest; stored != m.MediaType {
		return fault.New(fault.Invalid, fault.ManifestInvalid, "manifest %s is known here as %q and cannot become %q", m.Digest, stored, m.MediaType)
	}
	return nil
}

const presentChildren = `
SELECT m.digest, m.expire_at IS NOT NULL,
       EXISTS (SELECT 1 FROM trashed_manifests x WHERE x.tenant_id = m.tenant_id AND x.repo_id = m.repo_id AND x.digest = m.digest)
  FROM json_each(?3) j
  JOIN manifests m ON m.tenant_id = ?1 AND m.repo_id = ?2 AND m.digest = unhex(j.value)
 WHERE NOT EXISTS (SELECT 1 FROM manifest_deletions d WHERE d.tenant_id = m.tenant_id AND d.repo_id = m.repo_id AND d.digest = m.digest)`

// As for blobs: a child that was missing at an earlier PUT may be held now.
const linkChildren = `
INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held)
SELECT ?1, ?2, ?3, unhex(j.value), ?5 FROM json_each(?4) j WHERE true
ON CONFLICT (tenant_id, repo_id, parent, child) DO UPDATE SET held = excluded.held
 WHERE manifest_children.held IS NOT 1 AND excluded.held = 1`

// children links the manifests of an index, which must exist already.
func (p *put) children() error {
	if len(p.Parsed.Children) == 0 {
		return nil
	}
	required := map[oci.Digest]bool{}
	for _, d := range p.Parsed.Children {
		required[d.Digest] = required[d.Digest] || !d.Foreign() && !p.AllowMissingReferences || slices.Contains(p.mustHold, d.Digest)
	}
	digests := slices.Sorted(maps.Keys(required))
	present, err := p.presentChildren(digests)
	if err != nil {
		return err
	}
	linked, err := p.linked(linksToChildren, len(required))
	if err != nil {
		return err
	}
	var held, lacking []oci.Digest
	for _, d := range digests {
		isHeld, there := linked[d]
		switch {
		case present[d] && !isHeld:
			held = append(held, d)
		case present[d]:
		case required[d]:
			p.missing.Children = append(p.missing.Children, d)
		case !there:
			lacking = append(lacking, d)
		}
	}
	return p.linkChildren(held, lacking)
}

// requires finds the manifests that must be there besides its children.
func (p *put) requires() error {
	if len(p.Requires) == 0 {
		return nil
	}
	present, err := p.presentChildren(p.Requires)
	for _, d := range p.Requires {
		if !present[d] && !slices.Contains(p.missing.Children, d) {
			p.missing.Children = append(p.missing.Children, d)
		}
	}
	return err
}

// presentChildren returns the existing manifests, and records those that expire.
func (p *put) presentChildren(digests []oci.Digest) (map[oci.Digest]bool, error) {
	present := make(map[oci.Digest]bool, len(digests))
	err := p.list(presentChildren, []any{p.Repo.Tenant, p.repo, inJSON(digests)}, func(scan scan) error {
		var d oci.Digest
		var expires, trashed bool
		err := scan(digestScanner{&d}, &expires, &trashed)
		present[d] = true
		if trashed {
			p.trashed = append(p.trashed, d)
		}
		if expires {
			p.expiring = append(p.expiring, d)
		}
		return err
	})
	return present, err
}

func (p *put) linkChildren(held, lacking []oci.Digest) error {
	if err := p.linkAll(linkChildren, held, true); err != nil {
		return err
	}
	return p.linkAll(linkChildren, lacking, false)
}

func (p *put) linkAll(query string, digests []oci.Digest, held any) error {
	if len(digests) == 0 {
		return nil
	}
	_, err := p.exec(query, p.Repo.Tenant, p.repo, p.own, inJSON(digests), held)
	return err
}

// A blob that was missing at an earlier PUT may be held now.
const linkBlobs = `
INSERT INTO manifest_blobs (tenant_id, repo_id, manifest, digest, held_repo_id)
SELECT ?1, ?2, ?3, unhex(j.value), ?5 FROM json_each(?4) j WHERE true
ON CONFLICT (tenant_id, repo_id, manifest, digest) DO UPDATE SET held_repo_id = excluded.held_repo_id
 WHERE manifest_blobs.held_repo_id IS NULL AND excluded.held_repo_id IS NOT NULL`

func (p *put) link(held, lacking []oci.Digest) error {
	if err := p.linkAll(linkBlobs, held, p.repo); err != nil {
		return err
	}
	return p.linkAll(linkBlobs, lacking, nil)
}

const claimName = `
INSERT INTO name_claims (tenant_id, registry_id, name, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`

const showRepository = `UPDATE repositories SET listed = 1 WHERE tenant_id = ?1 AND id = ?2 AND listed = 0`

// claim claims the name: from its first committed manifest on no upstream is asked
// for it, even after deletions.
func (p *put) claim() error {
	if p.Provisional {
		return nil
	}
	if _, err := p.exec(claimName, p.Repo.Tenant, p.Repo.Registry, p.Repo.Name, p.now); err != nil {
		return err
	}
	_, err := p.exec(showRepository, p.Repo.Tenant, p.repo)
	return err
}
