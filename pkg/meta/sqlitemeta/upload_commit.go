package sqlitemeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

const sealUpload = `
UPDATE uploads SET state = 'sealed', digest = ?6, epoch = epoch + 1, expires_at = ?7
 WHERE tenant_id = ?1 AND id = ?2 AND repo_id = ?3
   AND (state = 'open' AND epoch = ?4 AND off = ?5 OR state = 'sealed' AND digest = ?6)`

// SealUpload implements meta.Uploads.
func (s *Store) SealUpload(ctx context.Context, u meta.Upload, d oci.Digest) (meta.Upload, error) {
	var sealed meta.Upload
	err := s.writeFor(ctx, u.Repo.Tenant, func(t *tx) error {
		repo, err := t.uploadRepository(u.Repo, u.ID)
		if err != nil {
			return err
		}
		n, err := t.exec(sealUpload, u.Repo.Tenant, u.ID[:], repo.id, u.Epoch, u.Stage.Offset, d.Bytes(), t.after(s.life.UploadTTL))
		if err != nil {
			return err
		}
		if sealed, err = t.upload(u.Repo, u.ID); err != nil {
			return err
		}
		switch {
		case n == 1, sealed.State == meta.UploadCommitted && sealed.Digest == d:
			return nil
		case sealed.State == meta.UploadOpen:
			return fenced(sealed.Stage.Offset)
		default:
			return fault.New(fault.Invalid, fault.DigestInvalid, "the upload was finished as %s", sealed.Digest)
		}
	})
	return sealed, err
}

const findTenantBlob = `SELECT size, incarnation FROM blobs WHERE tenant_id = ?1 AND digest = ?2`

// FindTenantBlob implements meta.Uploads.
func (s *Store) FindTenantBlob(ctx context.Context, u meta.Upload) (meta.Blob, error) {
	b := newBlob(u.Repo.Tenant, u.Digest)
	found, err := s.find(ctx, findTenantBlob, []any{u.Repo.Tenant, u.Digest.Bytes()}, &b.Size, &b.Key.Incarnation)
	if err == nil && !found {
		err = blobUnknown(u.Digest)
	}
	return b, err
}

const commitUpload = `
UPDATE uploads SET state = 'committed', epoch = epoch + 1, expires_at = ?5
 WHERE tenant_id = ?1 AND id = ?2 AND repo_id = ?3 AND state = 'sealed' AND epoch = ?4
RETURNING digest, off, incarnation, tail`

// CommitUpload implements meta.Uploads; the order is that of protocol section
// 4, PUT, step 5.
func (s *Store) CommitUpload(ctx context.Context, by meta.Cause, u meta.Upload, heal bool) (meta.Blob, error) {
	var b meta.Blob
	err := s.writeCharged(ctx, u.Repo.Tenant, func(t *tx) (bool, error) {
		repo, err := t.uploadRepository(u.Repo, u.ID)
		if err != nil {
			return false, err
		}
		c := commit{tx: t, id: u.ID, life: s.life, tenant: u.Repo.Tenant, heal: heal}
		found, err := t.find(commitUpload, []any{u.Repo.Tenant, u.ID[:], repo.id, u.Epoch, t.after(s.life.Committed)},
			digestScanner{&c.digest}, &c.size, &c.incarnation, &c.tail)
		if err != nil {
			return false, err
		}
		if !found {
			b, err = t.committedBefore(u, repo, s.life)
			return repo.cached(), err
		}
		if b, err = c.run(repo); err != nil {
			return false, err
		}
		if repo.cached() && by.Op == uuid.Nil {
			return true, nil // a fetch is not a push
		}
		return repo.cached(), t.event(by, u.Repo.Tenant, "blob.push", repo.target+"@"+c.digest.String())
	})
	return b, err
}

// committedBefore returns the result of a repeated commit from the present session.
func (t *tx) committedBefore(u meta.Upload, repo repository, life meta.Lifetimes) (meta.Blob, error) {
	now, err := t.upload(u.Repo, u.ID)
	if err != nil {
		return meta.Blob{}, err
	}
	if now.State != meta.UploadCommitted {
		return meta.Blob{}, fenced(now.Stage.Offset)
	}
	if now.Digest != u.Digest {
		return meta.Blob{}, fault.New(fault.Invalid, fault.DigestInvalid, "the upload was finished as %s", now.Digest)
	}
	b, err := t.promiseBlob(u.Repo.Tenant, repo.id, now.Digest, life)
	if fault.Is(err, fault.BlobUnknown) {
		err = uploadUnknown(u.ID) // deleted since; the client must upload again
	}
	return b, err
}

// commit is a session that becomes a live blob.
type commit struct {
	*tx
	id     uuid.UUID
	life   meta.Lifetimes
	tenant tenant.ID
	heal   bool

	digest            oci.Digest
	size              int64
	incarnation, tail uuid.UUID
}

const makeLive = `UPDATE objects SET state = 'L', size = ?3 WHERE tenant_id = ?1 AND incarnation = ?2 AND state = 'S'`

const upsertBlob = `
INSERT INTO blobs (tenant_id, digest, size, incarnation, keep_until, hosted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (tenant_id, digest) DO UPDATE SET keep_until = max(coalesce(blobs.keep_until, 0), excluded.keep_until)
RETURNING incarnation, suspect`

func (c commit) run(repo repository) (meta.Blob, error) {
	b := newBlob(c.tenant, c.digest)
	b.Size = c.size
	n, err := c.exec(makeLive, c.tenant, c.incarnation[:], c.size)
	if err != nil {
		return b, err
	}
	if n == 0 {
		return b, uploadUnknown(c.id) // the reaper expired it
	}
	var suspect bool
	_, err = c.find(upsertBlob, []any{c.tenant, c.digest.Bytes(), c.size, c.incarnation[:], c.after(c.life.Grace), !repo.cached()}, &b.Key.Incarnation, &suspect)
	if err != nil {
		return b, err
	}
	isNew := b.Key.Incarnation == c.incarnation
	switch {
	case isNew:
	case suspect || c.heal:
		err = c.healBlob(b.Key.Incarnation)
		b.Key.Incarnation = c.incarnation
	default:
		// This object was never visible, so it is deleted like a staged one.
		err = c.condemnLive(c.tenant, c.digest, c.incarnation, c.after(c.life.StagedDelay), repo.cached())
	}
	if err != nil {
		return b, err
	}
	if err := c.condemnStaged(c.tenant, c.life, c.tail); err != nil {
		return b, err
	}
	if _, err := c.exec(linkBlob, c.tenant, repo.id, c.digest.Bytes(), c.after(c.life.Grace)); err != nil {
		return b, err
	}
	if isNew {
		_, err = c.exec(chargeUsage, c.tenant, c.size)
	}
	return b, err
}

const pointBlob = `UPDATE blobs SET incarnation = ?3, suspect = 0 WHERE tenant_id = ?1 AND digest = ?2`

// healBlob replaces a missing or wrong object by the pushed one.
func (c commit) healBlob(old uuid.UUID) error {
	if _, err := c.exec(pointBlob, c.tenant, c.digest.Bytes(), c.incarnation[:]); err != nil {
		return err
	}
	return c.condemnLive(c.tenant, c.digest, old, c.after(c.life.DeleteDelay), false)
}

const condemnLive = `
UPDATE objects SET state = 'D', delete_after = ?3, cached = ?4, digest = ?5 WHERE tenant_id = ?1 AND incarnation = ?2 AND state = 'L'`

func (t *tx) condemnLive(id tenant.ID, d oci.Digest, incarnation uuid.UUID, deleteAfter int64, cached bool) error {
	_, err := t.exec(condemnLive, id, incarnation[:], deleteAfter, cached, d.Bytes())
	return err
}

// A trigger charges the row.
const chargeUsage = `UPDATE usage SET used = used + ?2 WHERE tenant_id = ?1`
