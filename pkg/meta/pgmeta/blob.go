package pgmeta

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

func blobUnknown(d oci.Digest) error {
	return fault.New(fault.NotFound, fault.BlobUnknown, "blob %s not found in this repository", d).
		WithDetail(map[string]string{"digest": d.String()})
}

// What a delete released is found for a while: pulls in flight end, and what a HEAD
// answered holds. The mark may be left on what a manifest holds again, for which
// phase B takes it away.
const visibleLink = `(NOT rb.trashed OR rb.keep_until > berth_now() OR EXISTS (
       SELECT 1 FROM manifest_blobs live WHERE live.tenant_id = rb.tenant_id AND live.held_repo_id = rb.repo_id AND live.digest = rb.digest))`

const findBlob = `
SELECT b.size, b.incarnation, b.suspect,
       CASE WHEN b.suspect THEN coalesce((SELECT d.damage FROM damaged_objects d WHERE d.tenant_id = b.tenant_id AND d.incarnation = b.incarnation), '') ELSE '' END
  FROM repositories r
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = $4
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
   AND ` + visibleLink

// FindBlob implements meta.Blobs.
func (s *Store) FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	b := newBlob(r.Tenant, d)
	found, err := s.find(ctx, r.Tenant, findBlob, []any{r.Tenant, r.Registry, r.Name, d.Bytes()}, &b.Size, uuidScanner{&b.Key.Incarnation}, &b.Suspect, &b.Damage)
	if err == nil && !found {
		err = blobUnknown(d)
	}
	return b, err
}

func newBlob(t tenant.ID, d oci.Digest) meta.Blob {
	b := meta.Blob{Digest: d}
	b.Key.Tenant = int64(t)
	return b
}

// checkBlob answers and prolongs in one statement: nothing is written while the
// blob is referenced, or kept for half of $5 at least. Whether to prolong is
// decided by what was seen, not by what another HEAD may make of the row
// meanwhile; only a row that is gone is not an answer.
const checkBlob = `
WITH hit AS (
  SELECT rb.tenant_id, rb.repo_id, rb.digest, rb.keep_until, b.size, b.incarnation
    FROM repositories r
    JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = $4
    JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND NOT b.suspect
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
     AND ` + visibleLink + `
), bump AS (
  UPDATE repo_blobs x SET keep_until = greatest(x.keep_until, berth_now() + $5::interval)
    FROM hit
   WHERE x.tenant_id = hit.tenant_id AND x.repo_id = hit.repo_id AND x.digest = hit.digest
     AND hit.keep_until < berth_now() + $5::interval / 2
  RETURNING 1
)
SELECT size, incarnation FROM hit
 WHERE keep_until IS NULL OR keep_until >= berth_now() + $5::interval / 2 OR EXISTS (SELECT FROM bump)`

// CheckBlob implements meta.Blobs.
func (s *Store) CheckBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	b := newBlob(r.Tenant, d)
	var found bool
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		t.queueCheck(r, d, s.life.HeadGrace, &b, &found)
		return nil
	})
	if err == nil && !found {
		err = blobUnknown(d)
	}
	return b, err
}

func (t *tx) queueCheck(r meta.Repo, d oci.Digest, grace time.Duration, b *meta.Blob, found *bool) {
	t.queue(checkBlob, r.Tenant, r.Registry, r.Name, d.Bytes(), grace).QueryRow(first(found, &b.Size, uuidScanner{&b.Key.Incarnation}))
}

const findSources = `
SELECT r.registry_id, r.name
  FROM repo_blobs rb
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND NOT b.suspect
  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.state = 'active'
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE rb.tenant_id = $1 AND rb.digest = $2 AND ` + visibleLink + `
 ORDER BY rb.repo_id LIMIT $3`

// FindSources implements meta.Blobs.
func (s *Store) FindSources(ctx context.Context, t tenant.ID, d oci.Digest, limit int) ([]meta.Repo, error) {
	source := func(scan scan) (meta.Repo, error) {
		r := meta.Repo{Tenant: t}
		err := scan(&r.Registry, &r.Name)
		return r, err
	}
	return collect(ctx, s, t, source, findSources, t, d.Bytes(), limit)
}

const lockBlobToDelete = `
SELECT 1 FROM blobs WHERE tenant_id = $1 AND digest = $2 FOR NO KEY UPDATE`

const lockLinkToDelete = `
SELECT 1
  FROM open_repositories r
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = $4
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND ` + visibleLink + `
   FOR UPDATE OF rb`

// It sees what was committed while the locks were waited for. Whether the registry
// has closed meanwhile does not matter: the repository is locked.
const isNamed = `
SELECT EXISTS (
  SELECT 1 FROM repositories r
    JOIN manifest_blobs m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'),
       EXISTS (
  SELECT 1 FROM repositories r
    JOIN trashed_blobs m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id AND m.digest = $4
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active')`

const unlinkBlob = `DELETE FROM repo_blobs WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`

// What is in the trash needs the link.
const trashLink = `
UPDATE repo_blobs SET trashed = true, keep_until = NULL WHERE tenant_id = $1 AND repo_id = $2 AND digest = $3`

// The deletion of a link makes its blob a candidate for phase C.
const releaseBlob = `UPDATE blobs SET keep_until = berth_now() WHERE tenant_id = $1 AND digest = $2`

// DeleteBlob implements meta.Blobs.
func (s *Store) DeleteBlob(ctx context.Context, by meta.Cause, r meta.Repo, d oci.Digest) error {
	return s.write(ctx, r.Tenant, func(t *tx) error {
		var recorded int64
		var held, linked, named, trashed bool
		var one int
		repo := t.lockRepository(r)
		if err := t.repositoryEvent(by, r, "blob.delete", "@"+d.String(), &recorded); err != nil {
			return err
		}
		t.queue(lockBlobToDelete, r.Tenant, d.Bytes()).QueryRow(first(&held, &one))
		t.queue(lockLinkToDelete, r.Tenant, r.Registry, r.Name, d.Bytes()).QueryRow(first(&linked, &one))
		t.queue(isNamed, r.Tenant, r.Registry, r.Name, d.Bytes()).QueryRow(func(row pgx.Row) error { return row.Scan(&named, &trashed) })
		if err := t.flush(); err != nil {
			return err
		}
		switch {
		case !repo.isHosted():
			return blobUnknown(d)
		case recorded == 0:
			return sqlmeta.ErrAlreadyDone
		case !held || !linked:
			return blobUnknown(d)
		case named:
			return fault.New(fault.Unsupported, fault.UnsupportedReason, "blob %s is named by a manifest of this repository; delete that first", d)
		}
		if trashed {
			t.queue(trashLink, r.Tenant, repo.id, d.Bytes())
			return nil
		}
		t.queue(unlinkBlob, r.Tenant, repo.id, d.Bytes())
		t.queue(releaseBlob, r.Tenant, d.Bytes())
		return nil
	})
}

const markSuspect = `UPDATE blobs SET suspect = true WHERE tenant_id = $1 AND digest = $2 AND incarnation = $3`

// MarkSuspect implements meta.Blobs.
func (s *Store) MarkSuspect(ctx context.Context, b meta.Blob) error {
	return s.write(ctx, tenant.ID(b.Key.Tenant), func(t *tx) error {
		t.queue(markSuspect, b.Key.Tenant, b.Digest.Bytes(), pgUUID(b.Key.Incarnation))
		return nil
	})
}
