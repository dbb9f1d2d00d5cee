package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// DeleteManifest implements meta.Manifests.
func (s *Store) DeleteManifest(ctx context.Context, by meta.Cause, r meta.Repo, d oci.Digest, deleteReferrers bool) error {
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		var recorded int64
		repo := t.lockRepository(r)
		if err := t.repositoryEvent(by, r, "manifest.delete", suffix(nil, d), &recorded); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		switch {
		case !repo.isHosted():
			return nameUnknown(r)
		case recorded == 0:
			return errAlreadyDone
		}
		doomed := []oci.Digest{d}
		if deleteReferrers {
			var err error
			if doomed, err = t.withReferrers(r, repo.id, d); err != nil {
				return err
			}
		}
		return t.deleteManifests(r, repo.id, d, doomed, s.life)
	})
	if err == nil {
		s.hideEmpty(ctx, r)
	}
	return err
}

// The manifest and what has it as its subject, and their referrers in turn.
const withReferrers = `
WITH RECURSIVE doomed (digest) AS (
  SELECT $3::bytea
  UNION
  SELECT referrer.digest
    FROM doomed
   CROSS JOIN LATERAL (
          SELECT m.digest FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.subject = doomed.digest OFFSET 0) AS referrer
)
SELECT digest FROM doomed ORDER BY digest`

func (t *tx) withReferrers(r meta.Repo, repo int64, d oci.Digest) ([]oci.Digest, error) {
	var doomed []oci.Digest
	t.queue(withReferrers, r.Tenant, repo, d.Bytes()).Query(each(func(scan scan) error {
		var one oci.Digest
		err := scan(digest{&one})
		doomed = append(doomed, one)
		return err
	}))
	return doomed, t.flush()
}

// These three lock as those of PutManifest do: from the sorted names to the rows.

const lockReleased = `
SELECT held.digest
  FROM (SELECT DISTINCT named.digest
          FROM unnest($3::bytea[]) AS doomed (digest)
         CROSS JOIN LATERAL (
                SELECT mb.digest FROM manifest_blobs mb
                 WHERE mb.tenant_id = $1 AND mb.repo_id = $2 AND mb.manifest = doomed.digest OFFSET 0) AS named
         ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT rb.digest FROM repo_blobs rb
         WHERE rb.tenant_id = $1 AND rb.repo_id = $2 AND rb.digest = wanted.digest
        OFFSET 0
           FOR NO KEY UPDATE) AS held`

const lockPointingTags = `
SELECT locked.name
  FROM (SELECT pointing.name
          FROM unnest($3::bytea[]) AS doomed (digest)
         CROSS JOIN LATERAL (
                SELECT g.name FROM tags g
                 WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.manifest = doomed.digest OFFSET 0) AS pointing
         ORDER BY pointing.name OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT g.name FROM tags g
         WHERE g.tenant_id = $1 AND g.repo_id = $2 AND g.name = wanted.name AND g.manifest = ANY ($3::bytea[])
        OFFSET 0
           FOR NO KEY UPDATE) AS locked`

const lockDoomed = `
SELECT locked.digest
  FROM (SELECT doomed.digest FROM unnest($3::bytea[]) AS doomed (digest) ORDER BY doomed.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT m.digest FROM manifests m
         WHERE m.tenant_id = $1 AND m.repo_id = $2 AND m.digest = wanted.digest
        OFFSET 0
           FOR UPDATE) AS locked`

// What a deleted manifest referenced stays for a while, so that a HEAD that was
// answered 200 still holds for the manifest PUT that follows it.
const keepReleased = `
UPDATE repo_blobs SET keep_until = greatest(keep_until, berth_now() + $4::interval)
 WHERE tenant_id = $1 AND repo_id = $2 AND digest = ANY ($3::bytea[])`

const clearTags = `
UPDATE tags SET manifest = NULL, version = version + 1
 WHERE tenant_id = $1 AND repo_id = $2 AND name = ANY ($3::text[])`

const deleteManifests = `DELETE FROM manifests WHERE tenant_id = $1 AND repo_id = $2 AND digest = ANY ($3::bytea[])`

// deleteManifests deletes manifests with their tags, in two batches. d, one of
// them, must be there.
func (t *tx) deleteManifests(r meta.Repo, repo int64, d oci.Digest, doomed []oci.Digest, life meta.Lifetimes) error {
	var released, locked []oci.Digest
	var tags []string
	digests := func(to *[]oci.Digest) func(scan) error {
		return func(scan scan) error {
			var one oci.Digest
			err := scan(digest{&one})
			*to = append(*to, one)
			return err
		}
	}
	t.queue(lockReleased, r.Tenant, repo, stored(doomed)).Query(each(digests(&released)))
	t.queue(lockPointingTags, r.Tenant, repo, stored(doomed)).Query(each(func(scan scan) error {
		name, err := scanName(scan)
		tags = append(tags, name)
		return err
	}))
	t.queue(lockDoomed, r.Tenant, repo, stored(doomed)).Query(each(digests(&locked)))
	if err := t.flush(); err != nil {
		return err
	}
	there := false
	for _, l := range locked {
		there = there || l == d
	}
	if !there {
		return manifestUnknown(d.String())
	}
	// A tag that came to one of them after the tags were locked.
	t.means("tags_point_to_manifests", errStartAgain)
	t.queue(keepReleased, r.Tenant, repo, stored(released), life.Released)
	t.queue(clearTags, r.Tenant, repo, tags)
	t.queue(deleteManifests, r.Tenant, repo, stored(locked))
	return nil
}

const isEmptyListed = `
SELECT r.id FROM repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active' AND r.listed
   AND (SELECT NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = r.tenant_id AND m.repo_id = r.id))`

const lockRepositoryToHide = `SELECT 1 FROM repositories WHERE tenant_id = $1 AND id = $2 AND state = 'active' FOR UPDATE`

// It sees what the writers committed that the lock waited for.
const hideRepository = `
UPDATE repositories SET listed = false
 WHERE tenant_id = $1 AND id = $2 AND listed AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.tenant_id = $1 AND m.repo_id = $2)`

// hideEmpty takes a repository off the list that holds no manifest any more. It
// needs the repository's row for itself, which the lock order gives only to a
// transaction that begins so. A failure is nobody's: the manifest is deleted,
// and the list is put right by the next deletion or push.
func (s *Store) hideEmpty(ctx context.Context, r meta.Repo) {
	var repo int64
	empty, err := s.find(ctx, r.Tenant, isEmptyListed, []any{r.Tenant, r.Registry, r.Name}, &repo)
	if err != nil || !empty {
		return
	}
	s.hide(ctx, r.Tenant, repo)
}

func (s *Store) hide(ctx context.Context, t tenant.ID, repo int64) {
	_ = s.write(ctx, t, func(tx *tx) error {
		tx.queue(lockRepositoryToHide, t, repo)
		tx.queue(hideRepository, t, repo)
		return nil
	})
}
