package sqlitemeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

const ownsUpload = `
SELECT 1 FROM uploads WHERE tenant_id = ?1 AND id = ?2 AND repo_id = ?3 AND state = 'open' AND epoch = ?4`

// owns begins a transaction of u's writer; it returns fenced if there is another.
func (t *tx) owns(u meta.Upload) error {
	repo, err := t.uploadRepository(u.Repo, u.ID)
	if err != nil {
		return err
	}
	var one int
	found, err := t.find(ownsUpload, []any{u.Repo.Tenant, u.ID[:], repo.id, u.Epoch}, &one)
	if err != nil || found {
		return err
	}
	return t.sessionLostErr(u)
}

// sessionLostErr is the error for a writer that has lost its session. It wraps
// blob.ErrFenced also when the session has ended.
func (t *tx) sessionLostErr(u meta.Upload) error {
	now, err := t.upload(u.Repo, u.ID)
	if fault.Is(err, fault.BlobUploadUnknown) {
		return fault.Wrap(blob.ErrFenced, fault.NotFound, fault.BlobUploadUnknown, "upload %s was ended meanwhile", u.ID)
	}
	if err != nil {
		return err
	}
	return fenced(now.Stage.Offset)
}

// IntendTail implements meta.Uploads.
func (s *Store) IntendTail(ctx context.Context, u meta.Upload, tail uuid.UUID) error {
	return s.writeFor(ctx, u.Repo.Tenant, func(t *tx) error {
		if err := t.owns(u); err != nil {
			return err
		}
		_, err := t.exec(insertObject, u.Repo.Tenant, tail[:], t.now)
		return err
	})
}

const recordMultipart = `
UPDATE objects SET multipart_id = ?3 WHERE tenant_id = ?1 AND incarnation = ?2 AND state = 'S'`

// RecordMultipart implements meta.Uploads.
func (s *Store) RecordMultipart(ctx context.Context, u meta.Upload, id string) error {
	return s.writeFor(ctx, u.Repo.Tenant, func(t *tx) error {
		if err := t.owns(u); err != nil {
			return err
		}
		n, err := t.exec(recordMultipart, u.Repo.Tenant, u.Stage.Key.Incarnation[:], id)
		if err == nil && n == 0 {
			err = t.sessionLostErr(u)
		}
		return err
	})
}

const advanceUpload = `
UPDATE uploads SET off = ?6, hash_state = ?7, tail = ?8, expires_at = ?9
 WHERE tenant_id = ?1 AND id = ?2 AND repo_id = ?3 AND state = 'open' AND epoch = ?4 AND off = ?5 AND off <= ?6`

const sizeTail = `UPDATE objects SET size = ?3 WHERE tenant_id = ?1 AND incarnation = ?2 AND state = 'S'`

const insertPart = `INSERT INTO upload_parts (tenant_id, upload_id, n, size, etag) VALUES (?1, ?2, ?3, ?4, ?5)`

// AdvanceUpload implements meta.Uploads. One body may have no end, so what is
// staged is bounded here too, and not at the start of a session alone.
func (s *Store) AdvanceUpload(ctx context.Context, u meta.Upload, p blob.Progress) (meta.Upload, error) {
	next := u
	next.HashState = p.State
	next.Stage.Offset = p.Offset
	next.Stage.Tail = p.Tail
	next.Stage.Parts = append(append([]blob.Part(nil), u.Stage.Parts...), p.Parts...)
	err := s.writeFor(ctx, u.Repo.Tenant, func(t *tx) error {
		repo, err := t.uploadRepository(u.Repo, u.ID)
		if err != nil {
			return err
		}
		expires := t.after(s.life.UploadTTL)
		next.ExpiresAt = timeOf(expires)
		n, err := t.exec(advanceUpload, u.Repo.Tenant, u.ID[:], repo.id, u.Epoch, u.Stage.Offset,
			p.Offset, p.State, idOrNull(p.Tail.Incarnation), expires)
		if err != nil {
			return err
		}
		if n == 0 {
			return t.sessionLostErr(u)
		}
		if err := t.roomToStage(u.Repo.Tenant, repo.cached(), s.opts, 0, 0); err != nil {
			return err
		}
		if err := t.replaceTail(u, p.Tail, s.life); err != nil {
			return err
		}
		for _, part := range p.Parts {
			if _, err := t.exec(insertPart, u.Repo.Tenant, u.ID[:], part.Number, part.Size, part.ETag); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}

// replaceTail records the size of the new tail and condemns the one before.
func (t *tx) replaceTail(u meta.Upload, tail blob.Tail, life meta.Lifetimes) error {
	if tail.Incarnation != uuid.Nil {
		n, err := t.exec(sizeTail, u.Repo.Tenant, tail.Incarnation[:], tail.Size)
		if err != nil {
			return err
		}
		if n == 0 {
			return t.sessionLostErr(u) // the reaper condemned it
		}
	}
	if old := u.Stage.Tail.Incarnation; old != tail.Incarnation {
		return t.condemnStaged(u.Repo.Tenant, life, old)
	}
	return nil
}
