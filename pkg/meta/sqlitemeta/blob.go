package sqlitemeta

import (
	"context"
	"database/sql"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
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
const visibleLink = `(rb.trashed = 0 OR rb.keep_until > berth_now() OR EXISTS (
       SELECT 1 FROM manifest_blobs live WHERE live.tenant_id = rb.tenant_id AND live.held_repo_id = rb.repo_id AND live.digest = rb.digest))`

const findBlob = `
SELECT b.size, b.incarnation, b.suspect,
       CASE WHEN b.suspect = 1 THEN coalesce((SELECT d.damage FROM damaged_objects d WHERE d.tenant_id = b.tenant_id AND d.incarnation = b.incarnation), '') ELSE '' END
  FROM repositories r
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = ?4
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active'
   AND ` + visibleLink

// FindBlob implements meta.Blobs.
func (s *Store) FindBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	b := newBlob(r.Tenant, d)
	found, err := s.find(ctx, findBlob, []any{r.Tenant, r.Registry, r.Name, d.Bytes()}, &b.Size, &b.Key.Incarnation, &b.Suspect, &b.Damage)
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

const checkBlob = `
SELECT b.size, b.incarnation, rb.keep_until
  FROM repositories r
  JOIN repo_blobs rb ON rb.tenant_id = r.tenant_id AND rb.repo_id = r.id AND rb.digest = ?4
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND b.suspect = 0
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active'
   AND ` + visibleLink

// CheckBlob implements meta.Blobs. It writes only when the blob is near its expiry,
// and then decides again inside the transaction.
func (s *Store) CheckBlob(ctx context.Context, r meta.Repo, d oci.Digest) (meta.Blob, error) {
	b := newBlob(r.Tenant, d)
	var keep sql.NullInt64
	found, err := s.find(ctx, checkBlob, []any{r.Tenant, r.Registry, r.Name, d.Bytes()}, &b.Size, &b.Key.Incarnation, &keep)
	switch {
	case err != nil:
		return b, err
	case !found:
		return b, blobUnknown(d)
	case !keep.Valid || keep.Int64 >= s.opts.Now().Add(s.life.HeadGrace/2).UnixMicro():
		return b, nil // referenced, or kept for long enough
	}
	err = s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.repository(r, either)
		if fault.Is(err, fault.NameUnknown) {
			return blobUnknown(d)
		}
		if err != nil {
			return err
		}
		b, err = t.promiseBlob(r.Tenant, repo.id, d, s.life)
		return err
	})
	return b, err
}

const heldBlob = `
SELECT b.size, b.incarnation
  FROM repo_blobs rb
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND b.suspect = 0
 WHERE rb.tenant_id = ?1 AND rb.repo_id = ?2 AND rb.digest = ?3 AND ` + visibleLink

const prolongLink = `
UPDATE repo_blobs SET keep_until = max(coalesce(keep_until, 0), ?4)
 WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3 AND keep_until < ?5`

// promiseBlob is the HEAD statement of protocol section 5: it finds a healthy blob
// and prolongs it.
func (t *tx) promiseBlob(id tenant.ID, repo int64, d oci.Digest, life meta.Lifetimes) (meta.Blob, error) {
	b := newBlob(id, d)
	found, err := t.find(heldBlob, []any{id, repo, d.Bytes()}, &b.Size, &b.Key.Incarnation)
	if err != nil {
		return b, err
	}
	if !found {
		return b, blobUnknown(d)
	}
	_, err = t.exec(prolongLink, id, repo, d.Bytes(), t.after(life.HeadGrace), t.after(life.HeadGrace/2))
	return b, err
}

const findSources = `
SELECT r.registry_id, r.name
  FROM repo_blobs rb
  JOIN blobs b ON b.tenant_id = rb.tenant_id AND b.digest = rb.digest AND b.suspect = 0
  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.state = 'active'
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.state = 'active' AND g.upstream_id IS NULL
 WHERE rb.tenant_id = ?1 AND rb.digest = ?2 AND ` + visibleLink + `
 ORDER BY rb.repo_id LIMIT ?3`

// FindSources implements meta.Blobs.
func (s *Store) FindSources(ctx context.Context, t tenant.ID, d oci.Digest, limit int) ([]meta.Repo, error) {
	source := func(scan scan) (meta.Repo, error) {
		r := meta.Repo{Tenant: t}
		err := scan(&r.Registry, &r.Name)
		return r, err
	}
	return collect(ctx, s, source, findSources, t, d.Bytes(), limit)
}

const linkBlob = `
INSERT INTO repo_blobs (tenant_id, repo_id, digest, keep_until) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (tenant_id, repo_id, digest) DO UPDATE SET keep_until = max(coalesce(repo_blobs.keep_until, 0), excluded.keep_until), trashed = 0`

// MountBlob implements meta.Blobs.
func (s *Store) MountBlob(ctx context.Context, by meta.Cause, from, to meta.Repo, d oci.Digest) (meta.Blob, error) {
	b := newBlob(to.Tenant, d)
	if from.Tenant != to.Tenant {
		return b, blobUnknown(d)
	}
	err := s.writeCharged(ctx, to.Tenant, func(t *tx) (bool, error) {
		target, err := t.ensureRepository(to, hosted)
		if err != nil {
			return false, err
		}
		source, err := t.repository(from, hosted)
		if fault.Is(err, fault.NameUnknown) {
			return false, blobUnknown(d)
		}
		if err != nil {
			return false, err
		}
		found, err := t.find(heldBlob, []any{from.Tenant, source.id, d.Bytes()}, &b.Size, &b.Key.Incarnation)
		if err != nil {
			return false, err
		}
		if !found {
			return false, blobUnknown(d)
		}
		if err := t.event(by, to.Tenant, "blob.mount", target.target+"@"+d.String()); err != nil {
			return false, err
		}
		_, err = t.exec(linkBlob, to.Tenant, target.id, d.Bytes(), t.after(s.life.Grace))
		return false, err
	})
	return b, err
}

const isNamed = `
SELECT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest),
       EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
  FROM repo_blobs rb
 WHERE rb.tenant_id = ?1 AND rb.repo_id = ?2 AND rb.digest = ?3 AND ` + visibleLink

const unlinkBlob = `DELETE FROM repo_blobs WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// What is in the trash needs the link.
const trashLink = `
UPDATE repo_blobs SET trashed = 1, keep_until = NULL WHERE tenant_id = ?1 AND repo_id = ?2 AND digest = ?3`

// The deletion of a link makes its blob a candidate for phase C.
const releaseBlob = `UPDATE blobs SET keep_until = ?3 WHERE tenant_id = ?1 AND digest = ?2`

// DeleteBlob implements meta.Blobs.
func (s *Store) DeleteBlob(ctx context.Context, by meta.Cause, r meta.Repo, d oci.Digest) error {
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.repository(r, hosted)
		if fault.Is(err, fault.NameUnknown) {
			return blobUnknown(d)
		}
		if err != nil {
			return err
		}
		if err := t.event(by, r.Tenant, "blob.delete", repo.target+"@"+d.String()); err != nil {
			return err
		}
		var named, trashed bool
		found, err := t.find(isNamed, []any{r.Tenant, repo.id, d.Bytes()}, &named, &trashed)
		switch {
		case err != nil:
			return err
		case !found:
			return blobUnknown(d)
		case named:
			return fault.New(fault.Unsupported, fault.UnsupportedReason, "blob %s is named by a manifest of this repository; delete that first", d)
		}
		if trashed {
			_, err := t.exec(trashLink, r.Tenant, repo.id, d.Bytes())
			return err
		}
		if _, err := t.exec(unlinkBlob, r.Tenant, repo.id, d.Bytes()); err != nil {
			return err
		}
		_, err = t.exec(releaseBlob, r.Tenant, d.Bytes(), t.now)
		return err
	})
}

const markSuspect = `UPDATE blobs SET suspect = 1 WHERE tenant_id = ?1 AND digest = ?2 AND incarnation = ?3`

// MarkSuspect implements meta.Blobs.
func (s *Store) MarkSuspect(ctx context.Context, b meta.Blob) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(markSuspect, b.Key.Tenant, b.Digest.Bytes(), b.Key.Incarnation[:])
		return err
	})
}
