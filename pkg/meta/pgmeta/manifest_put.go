package pgmeta

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// PutManifest implements meta.Manifests; the order is that of protocol section
// 5. The first batch takes every lock and stores the manifest, then everything
// is decided, and the second batch links and commits.
func (s *Store) PutManifest(ctx context.Context, p meta.ManifestPut) error {
	if err := p.CheckTags(); err != nil {
		return translate(err)
	}
	tags := slices.Compact(slices.Sorted(slices.Values(p.Tags)))
	again := false         // a missing reference is read once more
	reviving := p.Undelete // of links that a delete released
	return s.write(ctx, p.Repo.Tenant, func(t *tx) error {
		put := newPut(t, p, tags)
		put.grace, put.reviving = s.life.Grace, reviving
		if err := t.ensureRepository(p.Repo, put.lock); err != nil {
			return err
		}
		if put.recorded == 0 {
			return sqlmeta.ErrAlreadyDone
		}
		if put.released && !reviving {
			reviving = true
			return sqlmeta.ErrRestart
		}
		if err := put.decide(); err != nil {
			if fault.Is(err, fault.ManifestBlobUnknown) && !again {
				again = true
				return sqlmeta.ErrRestart
			}
			return err
		}
		if p.By.ValidateOnly {
			return sqlmeta.ErrAlreadyDone
		}
		if reviving {
			put.reviveLinks()
		}
		if !p.Provisional {
			put.endExpiry()
		}
		put.link()
		if !p.Provisional {
			put.leaveTrash()
		}
		if t.grew {
			t.withinQuota(p.Repo.Tenant, false)
		}
		return nil
	})
}

// suffix is ":v1,v2@sha256:…".
func suffix(tags []string, d oci.Digest) string {
	if len(tags) == 0 {
		return "@" + d.String()
	}
	return ":" + strings.Join(tags, ",") + "@" + d.String()
}

// putting is one running PutManifest.
type putting struct {
	*tx
	meta.ManifestPut
	own        []byte
	tags       []string
	blobs      map[oci.Digest]bool // referenced, and whether each must exist
	children   map[oci.Digest]bool // likewise
	repo       *repository
	recorded   int64
	grace      time.Duration         // of a provisional manifest
	held       map[oci.Digest]bool   // blobs that the repository holds
	old        map[string][]byte     // the present manifests of the tags
	rules      tagrule.Rules         // that may protect them
	gates      meta.GateVersions     // of the tenant, if they were asked
	changed    int64                 // version of the last change of the one tag of an undelete
	overridden []meta.Change         // what the event says of rules
	present    map[oci.Digest]string // media types of existing manifests
	expiring   []oci.Digest          // those of them that expire
	inserted   bool                  // the manifest is new
	trashRow
	released bool         // it names links that a delete released
	reviving bool         // it has locked them for that
	trashed  []oci.Digest // existing manifests that are in the trash, too
}

func newPut(t *tx, p meta.ManifestPut, tags []string) *putting {
	put := &putting{
		tx: t, ManifestPut: p, own: p.Manifest.Digest.Bytes(), tags: tags,
		blobs: map[oci.Digest]bool{}, children: map[oci.Digest]bool{},
	}
	for _, d := range p.Parsed.Blobs {
		put.blobs[d.Digest] = put.blobs[d.Digest] || !d.Foreign() && !p.AllowMissingReferences
	}
	for _, d := range p.Parsed.Children {
		put.children[d.Digest] = put.children[d.Digest] || !d.Foreign() && !p.AllowMissingReferences
	}
	return put
}

// The statements that lock what a push names go from the sorted names to the
// rows, each by its whole key, whatever the planner believes: OFFSET 0 keeps it
// from joining the other way round, through all rows of the repository, which
// looks cheap as long as a young table has no statistics. The locks are taken in
// the order of the names.

// A suspect blob is absent, but for what is restored ($5): it was held.
const lockReferences = `
SELECT held.digest, held.trashed
  FROM (SELECT r.tenant_id, r.id, named.digest
          FROM open_repositories r
         CROSS JOIN unnest($4::bytea[]) AS named (digest)
         WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
         ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT rb.digest, rb.trashed FROM repo_blobs rb
         WHERE rb.tenant_id = wanted.tenant_id AND rb.repo_id = wanted.id AND rb.digest = wanted.digest
           AND (SELECT $5 OR NOT b.suspect FROM blobs b WHERE b.tenant_id = rb.tenant_id AND b.digest = rb.digest)
        OFFSET 0
           FOR KEY SHARE OF rb) AS held`

// A tag's version only grows: that of a new row is the last one of its history, or the
// time, in microseconds, so that it is beyond those of a deleted tag of the same name.
const insertTags = `
INSERT INTO tags (tenant_id, repo_id, name, manifest, version)
SELECT r.tenant_id, r.id, wanted.name, NULL,
       coalesce((SELECT max(h.version) FROM tag_history h WHERE h.tenant_id = r.tenant_id AND h.repo_id = r.id AND h.name = wanted.name),
                (extract(epoch FROM berth_now()) * 1000000)::bigint)
  FROM open_repositories r, unnest($4::text[]) AS wanted (name)
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
 ORDER BY wanted.name COLLATE "C"
ON CONFLICT (tenant_id, repo_id, name) DO NOTHING`

const lockTags = `
SELECT locked.name, locked.manifest
  FROM (SELECT r.tenant_id, r.id, named.name
          FROM open_repositories r
         CROSS JOIN unnest($4::text[]) AS named (name)
         WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
         ORDER BY named.name COLLATE "C" OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT g.name, g.manifest FROM tags g
         WHERE g.tenant_id = wanted.tenant_id AND g.repo_id = wanted.id AND g.name = wanted.name
        OFFSET 0
           FOR NO KEY UPDATE OF g) AS locked`

// Manifests are locked in the order of their digests: those before the
// manifest's own, which is then inserted, and it and those after it. They are
// its children ($5) and what its tags ($6, locked) point to.
const (
	wantedManifests = `
WITH repo AS MATERIALIZED (
  SELECT r.tenant_id, r.id FROM open_repositories r WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
), wanted AS MATERIALIZED (
  SELECT child.digest FROM unnest($5::bytea[]) AS child (digest)
  UNION
  SELECT (SELECT g.manifest FROM tags g WHERE g.tenant_id = repo.tenant_id AND g.repo_id = repo.id AND g.name = tag.name)
    FROM repo
   CROSS JOIN unnest($6::text[]) AS tag (name)
  UNION
  SELECT $4::bytea
)
SELECT locked.digest, locked.media_type, locked.expires, locked.trashed
  FROM (SELECT repo.tenant_id, repo.id, wanted.digest FROM repo CROSS JOIN wanted`

	lockWantedManifests = `
         ORDER BY wanted.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT m.digest, m.media_type, m.expire_at IS NOT NULL AS expires,
               (SELECT EXISTS (SELECT 1 FROM trashed_manifests x WHERE x.tenant_id = m.tenant_id AND x.repo_id = m.repo_id AND x.digest = m.digest)) AS trashed
          FROM manifests m
         WHERE m.tenant_id = wanted.tenant_id AND m.repo_id = wanted.id AND m.digest = wanted.digest
        OFFSET 0
           FOR KEY SHARE OF m) AS locked`

	lockManifestsBefore = wantedManifests + `
         WHERE wanted.digest < $4` + lockWantedManifests

	insertManifest = `
INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, created_at, payload, refs, pushed_by)
SELECT r.tenant_id, r.id, $4, $5, $6, $7, $8, $9, berth_now(), $10, $11, $12
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
ON CONFLICT (tenant_id, repo_id, digest) DO NOTHING
RETURNING xmax = 0`

	// A permanent manifest does not expire.
	insertProvisional = `
INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, subject, artifact_type, annotations, created_at, payload, refs, pushed_by, expire_at)
SELECT r.tenant_id, r.id, $4, $5, $6, $7, $8, $9, berth_now(), $10, $11, $12, berth_now() + $13::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET expire_at = greatest(manifests.expire_at, excluded.expire_at)
 WHERE manifests.expire_at IS NOT NULL
RETURNING xmax = 0`

	lockManifestsFrom = wantedManifests + `
         WHERE wanted.digest >= $4` + lockWantedManifests
)

// reset discards the results of an earlier run of the first batch.
func (p *putting) reset() {
	p.held, p.old, p.present = map[oci.Digest]bool{}, map[string][]byte{}, map[oci.Digest]string{}
	p.expiring, p.inserted, p.trashRow, p.released, p.trashed, p.changed = nil, false, trashRow{}, false, nil, 0
}

// lock is the first batch.
func (p *putting) lock() (bool, error) {
	p.reset()
	var made int64
	t, g, n := p.Repo.Tenant, p.Repo.Registry, p.Repo.Name
	p.repo = p.lockRepository(p.Repo)
	if p.Undelete {
		p.stopDeletion()
	}
	if err := p.repositoryEvent(p.By, p.Repo, p.EventVerb(), suffix(p.tags, p.Manifest.Digest), &p.recorded); err != nil {
		return false, err
	}
	blobs := stored(slices.Collect(maps.Keys(p.blobs)))
	if p.reviving {
		p.lockToRevive(blobs)
	}
	p.queue(lockReferences, t, g, n, blobs, p.Undelete).Query(each(func(scan scan) error {
		var d oci.Digest
		var released bool
		err := scan(digestScanner{&d}, &released)
		p.held[d], p.released = true, p.released || released
		return err
	}))
	if p.Gates != nil {
		p.gates = nil
		p.queue(sqlmeta.SharePromotionGatesPostgres, t)
		p.queue(sqlmeta.ActivePromotionGates, t).Query(each(sqlmeta.ReadGateVersions(&p.gates)))
	}
	if len(p.tags) > 0 {
		p.lockTags(&made)
	}
	if p.Provisional {
		p.lockManifests(insertProvisional, p.Pusher(), p.grace)
	} else {
		p.lockManifests(insertManifest, p.Pusher())
	}
	err := p.flush()
	if err == nil && p.Undelete && p.repo.isHosted() {
		err = p.lockTrash()
	}
	p.grew = p.grew || p.inserted || made > 0 || p.released
	return p.repo.isHosted(), err
}

// lockTags is the part of the first batch for tags; made is how many were not there.
func (p *putting) lockTags(made *int64) {
	t, g, n := p.Repo.Tenant, p.Repo.Registry, p.Repo.Name
	p.queueTagRules(p.Repo, &p.rules)
	p.queue(insertTags, t, g, n, p.tags).Exec(counted(made))
	p.queue(lockTags, t, g, n, p.tags).Query(each(func(scan scan) error {
		var name string
		var manifest []byte
		err := scan(&name, &manifest)
		p.old[name] = manifest
		return err
	}))
	if p.Seen != 0 {
		p.lastChange()
	}
}

// lockManifests is the part of the first batch for manifests; insert is
// insertManifest, or a similar statement with more arguments.
func (p *putting) lockManifests(insert string, more ...any) {
	t, g, n := p.Repo.Tenant, p.Repo.Registry, p.Repo.Name
	named := slices.Concat(slices.Collect(maps.Keys(p.children)), p.Requires) // and what it follows
	if p.Follows != "" {
		named = append(named, p.Follows)
	}
	children := stored(named)
	remember := each(p.remember)
	var subject []byte
	annotations := map[string]string{}
	if p.Parsed.Subject != nil {
		subject = p.Parsed.Subject.Digest.Bytes()
		if len(p.Parsed.Annotations) > 0 {
			annotations = p.Parsed.Annotations
		}
	}
	m := p.Manifest
	p.queue(lockManifestsBefore, t, g, n, p.own, children, p.tags).Query(remember)
	row := []any{t, g, n, p.own, m.MediaType, len(m.Payload), subject, p.Parsed.ReferrerType(), annotations, m.Payload, meta.CountReferences(p.Parsed)}
	var touched bool // inserted, or prolonged: then it has an xmax
	p.queue(insert, append(row, more...)...).QueryRow(first(&touched, &p.inserted))
	p.queue(lockManifestsFrom, t, g, n, p.own, children, p.tags).Query(remember)
}

// remember reads a manifest that is locked.
func (p *putting) remember(scan scan) error {
	var d oci.Digest
	var mediaType string
	var expires, trashed bool
	err := scan(digestScanner{&d}, &mediaType, &expires, &trashed)
	p.present[d] = mediaType
	if trashed {
		p.trashed = append(p.trashed, d)
	}
	if expires && !p.onlyFollowed(d) {
		p.expiring = append(p.expiring, d)
	}
	return err
}

// decide returns the error of the put, if any.
func (p *putting) decide() error {
	mediaType, there := p.present[p.Manifest.Digest]
	switch {
	case p.Undelete && (!p.restorable || !p.follows()):
		return meta.NotInTrash(p.Manifest.Digest)
	case !there, len(p.old) < len(p.tags):
		return sqlmeta.ErrRestart // deleted between the insert and the lock, or its registry was closed
	case mediaType != p.Manifest.MediaType:
		return fault.New(fault.Invalid, fault.ManifestInvalid, "manifest %s is known here as %q and cannot become %q",
			p.Manifest.Digest, mediaType, p.Manifest.MediaType)
	}
	if err := p.refuseOverwrite(); err != nil {
		return err
	}
	if err := p.CheckGates(p.gates); err != nil {
		return err
	}
	for tag, old := range p.old {
		at, _ := oci.DigestFromBytes(old) // none: the tag is new
		if err := p.CheckReplaced(tag, at); err != nil {
			return err
		}
	}
	if err := p.missing().Fault(); err != nil || !p.Undelete {
		return err
	}
	if p.Seen != 0 {
		return p.refuseChanged()
	}
	return p.refuseTaken()
}

// missing are the references that must be there and are not. An undelete that is only
// validated has looked for its children, and does not restore them.
func (p *putting) missing() *meta.Missing {
	var missing meta.Missing
	for _, d := range slices.Sorted(maps.Keys(p.blobs)) {
		if p.blobs[d] && !p.held[d] {
			missing.Blobs = append(missing.Blobs, d)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(p.children)) {
		if _, there := p.present[d]; (p.children[d] || slices.Contains(p.mustHold, d)) && !there && !p.By.ValidateOnly {
			missing.Children = append(missing.Children, d)
		}
	}
	for _, d := range p.Requires {
		if _, there := p.present[d]; !there && !p.By.ValidateOnly && !slices.Contains(missing.Children, d) {
			missing.Children = append(missing.Children, d)
		}
	}
	return &missing
}

// Both are for rows that this transaction has locked FOR KEY SHARE, so that they
// cannot be deleted. Other transactions that end an expiry use the same order.
const (
	lockProvisional = `
SELECT expiring.digest
  FROM (SELECT named.digest FROM unnest($3::bytea[]) AS named (digest) ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT m.digest FROM manifests m
         WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = wanted.digest AND m.expire_at IS NOT NULL
        OFFSET 0
           FOR NO KEY UPDATE OF m) AS expiring`

	endExpiry = `
UPDATE manifests m SET expire_at = NULL
  FROM unnest($3::bytea[]) AS named (digest)
 WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = named.digest AND m.expire_at IS NOT NULL`
)

// endExpiry ends the expiry of the manifest and its children. The previous
// manifests of tags do not expire.
func (p *putting) endExpiry() {
	if len(p.expiring) > 0 {
		p.lockExpiring()
		p.queue(endExpiry, p.Repo.Tenant, p.repo.id, stored(p.expiring))
	}
}

func (p *putting) lockExpiring() {
	p.queue(lockProvisional, p.Repo.Tenant, p.repo.id, stored(p.expiring))
}
