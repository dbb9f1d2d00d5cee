package pgmeta

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

// The target and all sources, hosted and cached, are locked in the order of their
// ids, as lockRepositories does for two.
const lockAdopting = `
SELECT locked.id, locked.target
  FROM (SELECT found.id, found.target
          FROM (SELECT $2::bigint AS registry_id, $3::text AS name, true AS target
                UNION ALL
                SELECT source.registry_id, source.name, false
                  FROM unnest($4::bigint[], $5::text[]) AS source (registry_id, name)) AS named
         CROSS JOIN LATERAL (
                SELECT r.id, named.target
                  FROM open_repositories r
                 WHERE r.tenant_id = $1 AND r.registry_id = named.registry_id AND r.name = named.name
                   AND (NOT named.target OR (SELECT g.upstream_id IS NULL FROM registries g WHERE g.tenant_id = r.tenant_id AND g.id = r.registry_id))
                OFFSET 0) AS found
         ORDER BY found.id OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT r.id, wanted.target FROM repositories r
         WHERE r.tenant_id = $1 AND r.id = wanted.id AND r.state = 'active'
        OFFSET 0
           FOR KEY SHARE OF r) AS locked`

// A suspect blob is absent. The lock is that of a mount.
const lockHealthyBlobs = `
SELECT healthy.digest
  FROM (SELECT named.digest FROM unnest($2::bytea[]) AS named (digest) ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT b.digest FROM blobs b
         WHERE b.tenant_id = $1 AND b.digest = wanted.digest AND NOT b.suspect
        OFFSET 0
           FOR NO KEY UPDATE OF b) AS healthy`

const lockSources = `
SELECT held.digest
  FROM (SELECT repo.id, named.digest
          FROM unnest($2::bigint[]) AS repo (id) CROSS JOIN unnest($3::bytea[]) AS named (digest)
         ORDER BY repo.id, named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT rb.digest FROM repo_blobs rb
         WHERE rb.tenant_id = $1 AND rb.repo_id = wanted.id AND rb.digest = wanted.digest AND ` + visibleLink + `
        OFFSET 0
           FOR KEY SHARE OF rb) AS held`

const linkAdopted = `
INSERT INTO repo_blobs (tenant_id, repo_id, digest, keep_until)
SELECT $1, $2, adopted.digest, berth_now() + $4::interval FROM unnest($3::bytea[]) AS adopted (digest) ORDER BY adopted.digest
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET keep_until = greatest(repo_blobs.keep_until, excluded.keep_until), trashed = false`

// As those of mounts, one for each blob; like them they do not look at the state of
// the registry, which may close once its repository is locked. A repeated attempt
// finds them.
const insertAdoptions = `
INSERT INTO events (tenant_id, op, at, actor, on_behalf, verb, target, request_id, address, user_agent, pending, hooked)
SELECT r.tenant_id, adopted.op, berth_now(), $5, $6, 'blob.mount', 'registries/' || g.slug || '/repositories/' || r.name || '@' || adopted.digest, $7, $8, $9,
       ` + sqlmeta.HasSink + `, ` + sqlmeta.HasWebhook + `
  FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
 CROSS JOIN unnest($3::uuid[], $4::text[]) AS adopted (op, digest)
 WHERE r.tenant_id = $1 AND r.id = $2
ON CONFLICT (tenant_id, op) DO NOTHING`

// AdoptBlobs implements meta.Adopter, by the steps of MountBlob for many. An
// attempt whose COMMIT was lost is repeated as a whole: it links the same again.
func (s *Store) AdoptBlobs(ctx context.Context, by meta.Cause, from []meta.Repo, to meta.Repo, blobs []oci.Digest) ([]oci.Digest, error) {
	if err := meta.CheckAdoption(by, from, to, blobs); err != nil || len(blobs) == 0 {
		return nil, err
	}
	blobs = slices.Compact(slices.Sorted(slices.Values(blobs)))
	var missing []oci.Digest
	err := s.write(ctx, to.Tenant, func(t *tx) error {
		a := adopting{tx: t, from: from, to: to, blobs: blobs, grace: s.life.Grace}
		if err := t.ensureRepository(to, a.lock); err != nil {
			return err
		}
		if err := a.find(); err != nil {
			return err
		}
		var adopted []oci.Digest
		missing = nil
		for _, d := range blobs {
			if a.healthy[d] && a.held[d] {
				adopted = append(adopted, d)
			} else {
				missing = append(missing, d)
			}
		}
		if len(adopted) == 0 {
			return errUndo
		}
		a.link(by, adopted)
		t.withinQuota(to.Tenant, false) // what was only cached is hosted from now on
		return nil
	})
	return missing, err
}

// adopting is one running AdoptBlobs.
type adopting struct {
	*tx
	from  []meta.Repo
	to    meta.Repo
	blobs []oci.Digest
	grace time.Duration

	target        int64   // the id of the target
	sources       []int64 // the ids of the sources that are there
	healthy, held map[oci.Digest]bool
}

// lock locks the repositories and the blobs.
func (a *adopting) lock() (bool, error) {
	a.target, a.sources, a.healthy = 0, nil, map[oci.Digest]bool{}
	registries, names := sourceColumns(a.from)
	a.queue(lockAdopting, a.to.Tenant, a.to.Registry, a.to.Name, registries, names).Query(each(func(scan scan) error {
		var repo int64
		var isTarget bool
		err := scan(&repo, &isTarget)
		if isTarget {
			a.target = repo
		} else {
			a.sources = append(a.sources, repo)
		}
		return err
	}))
	a.queue(lockHealthyBlobs, a.to.Tenant, stored(a.blobs)).Query(each(into(a.healthy)))
	err := a.flush()
	return a.target != 0, err
}

// find locks the links of the sources.
func (a *adopting) find() error {
	a.held = map[oci.Digest]bool{}
	a.queue(lockSources, a.to.Tenant, a.sources, stored(a.blobs)).Query(each(into(a.held)))
	return a.flush()
}

// link queues what travels with COMMIT.
func (a *adopting) link(by meta.Cause, adopted []oci.Digest) {
	ops, digests := make([]pgtype.UUID, len(adopted)), make([]string, len(adopted))
	for i, d := range adopted {
		ops[i], digests[i] = pgUUID(meta.AdoptionOp(by, d)), d.String()
	}
	a.queue(linkAdopted, a.to.Tenant, a.target, stored(adopted), a.grace)
	a.queue(insertAdoptions, a.to.Tenant, a.target, ops, digests, by.Actor, by.OnBehalf, by.RequestID, by.Address, by.UserAgent)
}

// into notes the digest of each row.
func into(set map[oci.Digest]bool) func(scan) error {
	return func(scan scan) error {
		var d oci.Digest
		err := scan(digestScanner{&d})
		set[d] = true
		return err
	}
}

// sourceColumns are repositories as they go into a statement.
func sourceColumns(repos []meta.Repo) ([]int64, []string) {
	registries, names := make([]int64, len(repos)), make([]string, len(repos))
	for i, r := range repos {
		registries[i], names[i] = int64(r.Registry), r.Name
	}
	return registries, names
}

const findHeld = `
SELECT named.digest
  FROM unnest($4::bytea[]) AS named (digest)
 WHERE EXISTS (SELECT 1
                 FROM unnest($2::bigint[], $3::text[]) AS source (registry_id, name)
                CROSS JOIN LATERAL (
                       SELECT 1
                         FROM open_repositories r
                         JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = named.digest
                        WHERE r.tenant_id = $1 AND r.registry_id = source.registry_id AND r.name = source.name AND ` + visibleLink + `
                          AND (SELECT NOT b.suspect FROM blobs b WHERE b.tenant_id = rb.tenant_id AND b.digest = rb.digest) OFFSET 0) AS held)
 ORDER BY named.digest`

// FindHeld implements meta.Adopter.
func (s *Store) FindHeld(ctx context.Context, from []meta.Repo, blobs []oci.Digest) ([]oci.Digest, error) {
	if len(from) == 0 || len(blobs) == 0 {
		return nil, nil
	}
	registries, names := sourceColumns(from)
	return collect(ctx, s, from[0].Tenant, sqlmeta.ScanDigest, findHeld, from[0].Tenant, registries, names, stored(blobs))
}

const findAdoptable = `
SELECT held.digest, held.media_type, held.payload
  FROM unnest($2::bigint[], $3::text[]) WITH ORDINALITY AS source (registry_id, name, rank)
 CROSS JOIN LATERAL (
        SELECT m.digest, m.media_type, m.payload
          FROM open_repositories r
          JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
         WHERE r.tenant_id = $1 AND r.registry_id = source.registry_id AND r.name = source.name OFFSET 0) AS held
 ORDER BY source.rank LIMIT 1`

// FindAdoptable implements meta.Adopter.
func (s *Store) FindAdoptable(ctx context.Context, from []meta.Repo, d oci.Digest) (meta.Manifest, error) {
	var m meta.Manifest
	if len(from) == 0 {
		return m, manifestUnknown(d.String())
	}
	registries, names := sourceColumns(from)
	found, err := s.find(ctx, from[0].Tenant, findAdoptable, []any{from[0].Tenant, registries, names, d.Bytes()},
		digestScanner{&m.Digest}, &m.MediaType, &m.Payload)
	if err == nil && !found {
		err = manifestUnknown(d.String())
	}
	return m, err
}
