package pgmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// sessionLostErr is the error for a writer that has lost its session. It wraps
// blob.ErrFenced also when the session has ended.
func (s *Store) sessionLostErr(ctx context.Context, u meta.Upload) error {
	now, err := s.FindUpload(ctx, u.Repo, u.ID)
	switch {
	case fault.Is(err, fault.BlobUploadUnknown):
		return fault.Wrap(blob.ErrFenced, fault.NotFound, fault.BlobUploadUnknown, "upload %s was ended meanwhile", u.ID)
	case err != nil:
		return err
	default:
		return fenced(now.Stage.Offset)
	}
}

// asWriter runs one statement for u's writer, in a transaction of its own. The
// statement changes no row unless the session is open at u's epoch.
func (s *Store) asWriter(ctx context.Context, u meta.Upload, query string, arg any) error {
	var changed int64
	err := s.write(ctx, u.Repo.Tenant, func(t *tx) error {
		t.lockRepository(u.Repo)
		t.queue(query, u.Repo.Tenant, u.Repo.Registry, u.Repo.Name, pgUUID(u.ID), u.Epoch, arg).Exec(counted(&changed))
		return nil
	})
	if err == nil && changed == 0 {
		err = s.sessionLostErr(ctx, u)
	}
	return err
}

const insertTail = `
INSERT INTO objects (tenant_id, incarnation, state, created_at)
SELECT u.tenant_id, $6, 'S', berth_now()
  FROM open_repositories r
  JOIN uploads u ON u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state = 'open' AND u.epoch = $5
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
ON CONFLICT (tenant_id, incarnation) DO UPDATE SET created_at = objects.created_at WHERE objects.state = 'S'`

// IntendTail implements meta.Uploads.
func (s *Store) IntendTail(ctx context.Context, u meta.Upload, tail uuid.UUID) error {
	return s.asWriter(ctx, u, insertTail, pgUUID(tail))
}

const recordMultipart = `
UPDATE objects o SET multipart_id = $6
  FROM open_repositories r
  JOIN uploads u ON u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state = 'open' AND u.epoch = $5
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND o.tenant_id = u.tenant_id AND o.incarnation = u.incarnation AND o.state::text = 'S'`

// RecordMultipart implements meta.Uploads.
func (s *Store) RecordMultipart(ctx context.Context, u meta.Upload, id string) error {
	return s.asWriter(ctx, u, recordMultipart, id)
}

// The new offset counts as the present one: an earlier attempt of this writer may
// have put it there, and its answer was lost.
const advanceUpload = `
UPDATE uploads u SET off = $7, hash_state = $8, tail = $9, expires_at = berth_now() + $10::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state = 'open' AND u.epoch = $5
   AND u.off IN ($6, $7) AND u.off <= $7
RETURNING u.expires_at`

const sizeTail = `UPDATE objects SET size = $3 WHERE tenant_id = $1 AND incarnation = $2 AND state::text = 'S'`

const insertPart = `
INSERT INTO upload_parts (tenant_id, upload_id, n, size, etag) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, upload_id, n) DO UPDATE SET size = excluded.size, etag = excluded.etag`

// AdvanceUpload implements meta.Uploads. One body may have no end, so what is
// staged is bounded here too, and not at the start of a session alone.
func (s *Store) AdvanceUpload(ctx context.Context, u meta.Upload, p blob.Progress) (meta.Upload, error) {
	next := u
	next.HashState = p.State
	next.Stage.Offset = p.Offset
	next.Stage.Tail = p.Tail
	next.Stage.Parts = append(append([]blob.Part(nil), u.Stage.Parts...), p.Parts...)
	advanced := false
	err := s.write(ctx, u.Repo.Tenant, func(t *tx) error {
		t.lockRepository(u.Repo)
		t.queue(advanceUpload, u.Repo.Tenant, u.Repo.Registry, u.Repo.Name, pgUUID(u.ID), u.Epoch, u.Stage.Offset,
			p.Offset, p.State, pgUUID(p.Tail.Incarnation), s.life.UploadTTL).QueryRow(first(&advanced, timeScanner{&next.ExpiresAt}))
		t.roomToStage(u.Repo.Tenant, u.ID, s.opts.MaxStaged, 0)
		if p.Tail == u.Stage.Tail && len(p.Parts) == 0 {
			return nil // as on a file system: one batch, which does nothing unless it may
		}
		sized := int64(1)
		if p.Tail.Incarnation != uuid.Nil {
			t.queue(sizeTail, u.Repo.Tenant, pgUUID(p.Tail.Incarnation), p.Tail.Size).Exec(counted(&sized))
		}
		if err := t.flush(); err != nil {
			return err
		}
		if advanced = advanced && sized == 1; !advanced { // 0 tails: the reaper condemned it
			return errUndo
		}
		if old := u.Stage.Tail.Incarnation; old != p.Tail.Incarnation {
			t.condemnStaged(u.Repo.Tenant, s.life, old)
		}
		for _, part := range p.Parts {
			t.queue(insertPart, u.Repo.Tenant, pgUUID(u.ID), part.Number, part.Size, part.ETag)
		}
		return nil
	})
	if err == nil && !advanced {
		err = s.sessionLostErr(ctx, u)
	}
	return next, err
}
