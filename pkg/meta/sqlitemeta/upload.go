package sqlitemeta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

func uploadUnknown(id uuid.UUID) error {
	return fault.New(fault.NotFound, fault.BlobUploadUnknown, "upload %s not found in this repository", id)
}

// fenced is the error if another writer has the session, with the true offset.
func fenced(offset int64) error {
	return fault.Wrap(blob.ErrFenced, fault.OutOfRange, fault.BlobUploadInvalid,
		"the upload stands at %d bytes and belongs to a later request", offset).WithOffset(offset)
}

// uploadRepository is repository for a session.
func (t *tx) uploadRepository(r meta.Repo, id uuid.UUID) (repository, error) {
	repo, err := t.repository(r, either)
	if fault.Is(err, fault.NameUnknown) {
		err = uploadUnknown(id)
	}
	return repo, err
}

const stagedByTenant = `
SELECT count(*), coalesce(sum(off), 0), coalesce(sum(off * (1 - cached)), 0) FROM uploads WHERE tenant_id = ?1 AND state IN ('open', 'sealed')`

const insertUpload = `
INSERT INTO uploads (tenant_id, id, repo_id, state, epoch, off, algorithm, incarnation, expires_at, cached)
VALUES (?1, ?2, ?3, 'open', 0, 0, ?4, ?5, ?6, ?7)`

// An object's intent row is written before its first byte.
const insertObject = `INSERT INTO objects (tenant_id, incarnation, state, created_at) VALUES (?1, ?2, 'S', ?3)`

// CreateUpload implements meta.Uploads. The tenant's staged bytes are bounded
// by Options.MaxStaged and by what is left of its quota, its sessions by
// Options.MaxSessions.
func (s *Store) CreateUpload(ctx context.Context, r meta.Repo, a oci.Algorithm) (meta.Upload, error) {
	u := meta.Upload{ID: uuid.New(), Repo: r, State: meta.UploadOpen, Algorithm: a}
	u.Stage.Key = blob.Key{Tenant: int64(r.Tenant), Incarnation: uuid.New()}
	err := s.writeCharged(ctx, r.Tenant, func(t *tx) (bool, error) {
		repo, err := t.ensureRepository(r, either)
		if err != nil {
			return false, err
		}
		if err := t.roomToStage(r.Tenant, repo.cached(), s.opts, 1, 1); err != nil {
			return false, err
		}
		expires := t.after(s.life.UploadTTL)
		u.ExpiresAt = timeOf(expires)
		if _, err := t.exec(insertUpload, r.Tenant, u.ID[:], repo.id, a, u.Stage.Key.Incarnation[:], expires, repo.cached()); err != nil {
			return false, err
		}
		_, err = t.exec(insertObject, r.Tenant, u.Stage.Key.Incarnation[:], t.now)
		return repo.cached(), err
	})
	return u, err
}

// roomToStage refuses so many more sessions and bytes where they bring the
// tenant's unfinished uploads over their bounds, or over what is left of its
// quota: for a push, beside what was pushed; for what is fetched, beside all.
func (t *tx) roomToStage(id tenant.ID, cached bool, o Options, sessions, bytes int64) error {
	var open, staged, pushed int64
	if _, err := t.find(stagedByTenant, []any{id}, &open, &staged, &pushed); err != nil {
		return err
	}
	if o.MaxSessions >= 0 && open+sessions > o.MaxSessions || o.MaxStaged >= 0 && staged+bytes > o.MaxStaged {
		return quotaExceeded("%d bytes are staged in %d unfinished uploads; finish or cancel some", staged, open)
	}
	u, err := t.usage(id)
	if err != nil || u.limit == 0 {
		return err
	}
	if cached {
		pushed = staged
	}
	left := u.limit - u.charged(cached)
	if pushed+bytes > left && !cached {
		deleted, err := t.deleted(id, u)
		if err != nil {
			return err
		}
		left += deleted
	}
	if pushed+bytes > left {
		return quotaExceeded("unfinished uploads hold %d bytes, and %d are left of the quota; finish or cancel some, or delete what is not needed", pushed, max(0, left))
	}
	return nil
}

// An ended session's object may be forgotten already.
const findUpload = `
SELECT u.state, u.epoch, u.off, u.algorithm, u.hash_state, u.incarnation, coalesce(o.multipart_id, ''),
       u.tail, coalesce(x.size, 0), u.digest, u.expires_at,
       (SELECT json_group_array(json_array(p.n, p.size, p.etag)) FROM upload_parts p WHERE p.tenant_id = u.tenant_id AND p.upload_id = u.id)
  FROM repositories r
  JOIN uploads u ON u.tenant_id = r.tenant_id AND u.id = ?4 AND u.repo_id = r.id AND u.state <> 'expired'
  LEFT JOIN objects o ON o.tenant_id = u.tenant_id AND o.incarnation = u.incarnation
  LEFT JOIN objects x ON x.tenant_id = u.tenant_id AND x.incarnation = u.tail
 WHERE r.tenant_id = ?1 AND r.registry_id = ?2 AND r.name = ?3 AND r.state = 'active'`

// FindUpload implements meta.Uploads.
func (s *Store) FindUpload(ctx context.Context, r meta.Repo, id uuid.UUID) (meta.Upload, error) {
	return uploadRow(r, id, func(args []any, dest ...any) (bool, error) { return s.find(ctx, findUpload, args, dest...) })
}

// upload is FindUpload inside a transaction.
func (t *tx) upload(r meta.Repo, id uuid.UUID) (meta.Upload, error) {
	return uploadRow(r, id, func(args []any, dest ...any) (bool, error) { return t.find(findUpload, args, dest...) })
}

func uploadRow(r meta.Repo, id uuid.UUID, find func(args []any, dest ...any) (bool, error)) (meta.Upload, error) {
	u := meta.Upload{ID: id, Repo: r}
	u.Stage.Key.Tenant = int64(r.Tenant)
	var parts []byte
	found, err := find([]any{r.Tenant, r.Registry, r.Name, id[:]},
		&u.State, &u.Epoch, &u.Stage.Offset, &u.Algorithm, &u.HashState, &u.Stage.Key.Incarnation, &u.Stage.Multipart,
		&u.Stage.Tail.Incarnation, &u.Stage.Tail.Size, digestScanner{&u.Digest}, sqlmeta.ScanTime(&u.ExpiresAt), &parts)
	if err != nil {
		return u, err
	}
	if !found {
		return u, uploadUnknown(id)
	}
	u.Stage.Parts, err = decodeParts(parts)
	return u, err
}

// decodeParts reads [[number, size, etag], …], in any order.
func decodeParts(rows []byte) ([]blob.Part, error) {
	var raw [][3]json.RawMessage
	if err := json.Unmarshal(rows, &raw); err != nil {
		return nil, err
	}
	var parts []blob.Part
	for _, columns := range raw {
		var p blob.Part
		for i, to := range []any{&p.Number, &p.Size, &p.ETag} {
			if err := json.Unmarshal(columns[i], to); err != nil {
				return nil, err
			}
		}
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b blob.Part) int { return a.Number - b.Number })
	return parts, nil
}

const takeUpload = `
UPDATE uploads SET epoch = epoch + 1, expires_at = ?4
 WHERE tenant_id = ?1 AND id = ?2 AND repo_id = ?3 AND state = 'open' AND (?5 < 0 OR off = ?5)`

// TakeUpload implements meta.Uploads.
func (s *Store) TakeUpload(ctx context.Context, r meta.Repo, id uuid.UUID, start int64) (meta.Upload, error) {
	var u meta.Upload
	err := s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.uploadRepository(r, id)
		if err != nil {
			return err
		}
		n, err := t.exec(takeUpload, r.Tenant, id[:], repo.id, t.after(s.life.UploadTTL), start)
		if err != nil {
			return err
		}
		if u, err = t.upload(r, id); err != nil {
			return err
		}
		switch {
		case n == 1:
			return t.roomToStage(r.Tenant, repo.cached(), s.opts, 0, 1) // before any byte is accepted
		case u.State == meta.UploadCommitted:
			return uploadUnknown(id)
		case u.State == meta.UploadSealed:
			return fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "the upload is being finished and takes no more bytes").WithOffset(u.Stage.Offset)
		default:
			return fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "the upload stands at %d bytes, not %d", u.Stage.Offset, start).WithOffset(u.Stage.Offset)
		}
	})
	return u, err
}

const cancelUpload = `
UPDATE uploads SET state = 'expired', epoch = epoch + 1, expires_at = ?4
 WHERE tenant_id = ?1 AND id = ?2 AND repo_id = ?3 AND state IN ('open', 'sealed') RETURNING incarnation, tail`

// CancelUpload implements meta.Uploads.
func (s *Store) CancelUpload(ctx context.Context, r meta.Repo, id uuid.UUID) error {
	return s.writeFor(ctx, r.Tenant, func(t *tx) error {
		repo, err := t.uploadRepository(r, id)
		if err != nil {
			return err
		}
		var incarnation, tail uuid.UUID
		found, err := t.find(cancelUpload, []any{r.Tenant, id[:], repo.id, t.after(s.life.Committed)}, &incarnation, &tail)
		if err != nil {
			return err
		}
		if !found {
			return uploadUnknown(id)
		}
		return t.condemnStaged(r.Tenant, s.life, incarnation, tail)
	})
}

const condemnStaged = `
UPDATE objects SET state = 'D', delete_after = ?3 WHERE tenant_id = ?1 AND incarnation = ?2 AND state = 'S'`

// condemnStaged condemns a session's objects that are still staged; nil UUIDs
// (uuid.Nil) are left out.
func (t *tx) condemnStaged(id tenant.ID, life meta.Lifetimes, incarnations ...uuid.UUID) error {
	for _, i := range incarnations {
		if i == uuid.Nil {
			continue
		}
		if _, err := t.exec(condemnStaged, id, i[:], t.after(life.StagedDelay)); err != nil {
			return fmt.Errorf("condemn %s: %w", i, err)
		}
	}
	return nil
}
