package pgmeta

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// DeleteManifest implements meta.Manifests. The manifest goes at once; referrers
// that go with it go in steps, which the first transaction writes down.
func (s *Store) DeleteManifest(ctx context.Context, del meta.ManifestDelete) error {
	if del.Evaluated == nil { // else all tags are compared with what was evaluated
		if err := s.untagAhead(ctx, del); err != nil {
			return err
		}
	}
	r := del.Repo
	var id int64
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		var recorded int64
		var rules tagrule.Rules
		if err := t.countDeletion(del.Evaluated); err != nil {
			return err
		}
		repo := t.lockRepository(r)
		t.queueTagRules(r, &rules)
		if err := t.repositoryEvent(del.By, r, "manifest.delete", suffix(nil, del.Digest), &recorded); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		switch {
		case !repo.isHosted():
			return nameUnknown(r)
		case recorded == 0:
			id = repo.id
			return sqlmeta.ErrAlreadyDone
		}
		id = repo.id
		return t.deleteOne(del, repo.id, rules, s.life)
	})
	if err != nil {
		return err
	}
	if del.Referrers {
		s.finishDeletion(ctx, deletion{tenant: r.Tenant, repo: id, op: del.By.Op})
	}
	s.hideEmpty(context.WithoutCancel(ctx), r)
	return nil
}

// These lock as those of PutManifest do: from the sorted names to the rows. To release
// a link may change what its blob counts as, so blobs are locked first.

const lockBlobsOfDoomed = `
SELECT held.digest
  FROM (SELECT DISTINCT named.digest
          FROM unnest($3::bytea[]) AS doomed (digest)
         CROSS JOIN LATERAL (
                SELECT mb.digest FROM manifest_blobs mb
                 WHERE mb.tenant_id = $1 AND mb.repo_id = $2 AND mb.manifest = doomed.digest OFFSET 0) AS named
         ORDER BY named.digest OFFSET 0) AS wanted
 CROSS JOIN LATERAL (
        SELECT b.digest FROM blobs b
         WHERE b.tenant_id = $1 AND b.digest = wanted.digest
        OFFSET 0
           FOR NO KEY UPDATE) AS held`

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

// Of a manifest that came back between the locks, links may not be locked.
const linksOfDoomed = `
SELECT DISTINCT rb.digest
  FROM unnest($3::bytea[]) AS doomed (digest)
  JOIN manifest_blobs mb ON mb.tenant_id = $1 AND mb.repo_id = $2 AND mb.manifest = doomed.digest
  JOIN repo_blobs rb ON rb.tenant_id = mb.tenant_id AND rb.repo_id = mb.repo_id AND rb.digest = mb.digest`

// The indexes that name them, at most $4 for each. It comes after lockDoomed and
// sees the transactions that lockDoomed waited for: a put of an index locks the
// manifests it names.
const namingIndexes = `
SELECT naming.child, naming.parent
  FROM unnest($3::bytea[]) AS doomed (digest)
 CROSS JOIN LATERAL (
        SELECT c.child, c.parent FROM manifest_children c
         WHERE c.tenant_id = $1 AND c.repo_id = $2 AND c.child = doomed.digest AND c.parent <> doomed.digest
         LIMIT $4) AS naming`

// After a forced deletion the index may lack it.
const releaseChild = `
UPDATE manifest_children c SET held = false
  FROM (SELECT l.parent FROM manifest_children l
         WHERE l.tenant_id = $1 AND l.repo_id = $2 AND l.child = $3 ORDER BY l.parent FOR NO KEY UPDATE) AS locked
 WHERE c.tenant_id = $1 AND c.repo_id = $2 AND c.parent = locked.parent AND c.child = $3`

// Blobs of a deleted manifest stay for a while, so that after a HEAD with 200 the
// following manifest PUT still finds them. With a trash ($5), what no other manifest
// holds is trashed; a push in flight may hold it after all, which phase B finds.
const keepReleased = `
UPDATE repo_blobs rb SET keep_until = greatest(rb.keep_until, berth_now() + $4::interval),
       trashed = rb.trashed OR $5 AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = $1 AND m.held_repo_id = $2 AND m.digest = rb.digest)
 WHERE rb.tenant_id = $1 AND rb.repo_id = $2 AND rb.digest = ANY ($3::bytea[])`

const deleteManifests = `DELETE FROM manifests WHERE tenant_id = $1 AND repo_id = $2 AND digest = ANY ($3::bytea[])`

// doomed are the manifests that a transaction deletes, with the rows that it has
// locked.
type doomed struct {
	released, locked []oci.Digest                // blobs that they name, and they themselves
	tags             []string                    // that point to them
	parents          map[oci.Digest][]oci.Digest // indexes that name them
}

// lockToDelete locks manifests and the rows to delete with them, in one batch, and the
// manifests above, which stay.
func (t *tx) lockToDelete(id tenant.ID, repo int64, digests []oci.Digest, above ...oci.Digest) (*doomed, error) {
	d := &doomed{parents: map[oci.Digest][]oci.Digest{}}
	t.queue(lockBlobsOfDoomed, id, repo, stored(digests))
	t.queue(lockReleased, id, repo, stored(digests)).Query(each(readDigests(&d.released)))
	t.queue(lockPointingTags, id, repo, stored(digests)).Query(each(func(scan scan) error {
		name, err := scanName(scan)
		d.tags = append(d.tags, name)
		return err
	}))
	if len(above) > 0 {
		t.queue(lockDoomed, id, repo, stored(above))
	}
	t.queue(lockDoomed, id, repo, stored(digests)).Query(each(readDigests(&d.locked)))
	var linked []oci.Digest
	t.queue(linksOfDoomed, id, repo, stored(digests)).Query(each(readDigests(&linked)))
	t.queue(namingIndexes, id, repo, stored(digests), meta.MaxParents+1).Query(each(func(scan scan) error {
		var child, parent oci.Digest
		err := scan(digestScanner{&child}, digestScanner{&parent})
		d.parents[child] = append(d.parents[child], parent)
		return err
	}))
	err := t.flush()
	for _, one := range linked {
		if !slices.Contains(d.released, one) {
			return d, errors.Join(err, sqlmeta.ErrRestart)
		}
	}
	return d, err
}

func readDigests(to *[]oci.Digest) func(scan) error {
	return func(scan scan) error {
		var one oci.Digest
		err := scan(digestScanner{&one})
		*to = append(*to, one)
		return err
	}
}

// queueDelete deletes the locked rows, by the operation op.
func (t *tx) queueDelete(id tenant.ID, repo int64, d *doomed, op uuid.UUID, life meta.Lifetimes) {
	released := life.Released
	if life.Undelete > 0 {
		released = life.HeadGrace // trash that is ended early has to make room
		t.queueTrash(id, repo, op, d.locked, life.Undelete)
	}
	// A tag that was moved to one of them after the tags were locked.
	t.onViolation("tags_point_to_manifests", sqlmeta.ErrRestart)
	t.queue(deleteTags, id, repo, d.tags, pgUUID(op))
	t.queue(deleteManifests, id, repo, stored(d.locked))
	t.queue(keepReleased, id, repo, stored(d.released), released, life.Undelete > 0)
}

// deleteOne deletes the manifest of del, in two batches.
func (t *tx) deleteOne(del meta.ManifestDelete, repo int64, rules tagrule.Rules, life meta.Lifetimes) error {
	id := del.Repo.Tenant
	guard := meta.GuardTags(rules, tagrule.Delete, del.Repo.Name)
	above, err := t.manifestsAbove(guard, del, repo)
	if err != nil {
		return err
	}
	d, err := t.lockToDelete(id, repo, []oci.Digest{del.Digest}, above...)
	if err != nil {
		return err
	}
	if del.Evaluated != nil {
		if err := sqlmeta.CheckBasis(t.records(), id, repo, del.Evaluated.Basis); err != nil {
			return err
		}
	}
	overridden, err := t.guardDeletion(guard, del, repo, above)
	if err != nil {
		return err
	}
	named := d.parents[del.Digest]
	switch {
	case len(d.locked) == 0:
		return manifestUnknown(del.Digest.String())
	case len(named) > 0 && !del.Force:
		return meta.NamedByIndex(del.Digest, named)
	case len(named) > 0:
		t.queue(releaseChild, id, repo, del.Digest.Bytes())
	}
	var gone meta.TagMoves
	gone.AddGone(d.tags, del.Digest)
	t.eventChanges(del.By, id, slices.Concat(del.By.Changes, overridden, gone.Changes))
	t.queueDelete(id, repo, d, del.By.Op, life)
	if del.Referrers {
		t.beginDeletion(deletion{tenant: id, repo: repo, op: del.By.Op}, []oci.Digest{del.Digest})
	}
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

// hideEmpty removes a repository without manifests from the list. It needs an
// exclusive lock of the repository's row, which the lock order allows only as the
// first lock. A failure is not reported: the manifest is deleted, and the next
// deletion or push corrects the list.
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
