package pgmeta

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
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

// The session and its object's intent row, before the first byte. A repetition
// of a statement whose answer was lost finds its own rows.
const insertUpload = `
WITH repo AS (
  SELECT id, berth_is_cached(tenant_id, id) AS cached FROM open_repositories WHERE tenant_id = $1 AND registry_id = $2 AND name = $3
), staged AS (
  SELECT count(*) AS sessions, coalesce(sum(off), 0)::bigint AS bytes, coalesce(sum(off) FILTER (WHERE NOT cached), 0)::bigint AS pushed
    FROM uploads WHERE tenant_id = $1 AND state IN ('open', 'sealed')
), allowed AS (
  SELECT repo.id, repo.cached FROM repo, staged, usage
   WHERE ($8::bigint < 0 OR staged.sessions < $8) AND ($9::bigint < 0 OR staged.bytes < $9) AND usage.tenant_id = $1
     AND (usage.lim = 0 OR usage.used + usage.overhead + CASE WHEN repo.cached THEN staged.bytes ELSE staged.pushed - usage.cached - least(usage.trash, usage.lim) END < usage.lim)
), upload AS (
  INSERT INTO uploads (tenant_id, id, repo_id, state, epoch, off, algorithm, incarnation, expires_at, cached)
  SELECT $1, $4, allowed.id, 'open', 0, 0, $5, $6, berth_now() + $7::interval, allowed.cached FROM allowed
  ON CONFLICT (tenant_id, id) DO UPDATE SET expires_at = excluded.expires_at
  RETURNING expires_at
), object AS (
  INSERT INTO objects (tenant_id, incarnation, state, created_at)
  SELECT $1, $6, 'S', berth_now() FROM allowed
  ON CONFLICT (tenant_id, incarnation) DO NOTHING
)
SELECT staged.sessions, staged.bytes, (SELECT expires_at FROM upload), EXISTS (SELECT FROM repo) FROM staged`

// CreateUpload implements meta.Uploads. The tenant's staged bytes are bounded
// by Options.MaxStaged and by what is left of its quota, its sessions by
// Options.MaxSessions.
func (s *Store) CreateUpload(ctx context.Context, r meta.Repo, a oci.Algorithm) (meta.Upload, error) {
	u := createdUpload(r, a)
	var sessions, staged int64
	var repo *repository
	var stillOpen bool // the registry may be given up after the repository was locked
	batch := func(t *tx) {
		repo = t.lockRepository(r)
		t.queue(insertUpload, r.Tenant, r.Registry, r.Name, pgUUID(u.ID), a, pgUUID(u.Stage.Key.Incarnation),
			s.life.UploadTTL, s.opts.MaxSessions, s.opts.MaxStaged).
			QueryRow(func(row pgx.Row) error { return row.Scan(&sessions, &staged, timeScanner{&u.ExpiresAt}, &stillOpen) })
	}
	// Nearly always the repository exists, and one batch is enough.
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		batch(t)
		return nil
	})
	if err == nil && !repo.found {
		// A session that is there anyway was made without the lock, in a
		// repository that another transaction made, and may be purged with it. It is given
		// up for one with other ids.
		if !u.ExpiresAt.IsZero() {
			if err := s.CancelUpload(ctx, r, u.ID); err != nil && !fault.Is(err, fault.BlobUploadUnknown) {
				return u, err
			}
		}
		u = createdUpload(r, a)
		err = s.write(ctx, r.Tenant, func(t *tx) error {
			err := t.ensureRepository(r, func() (bool, error) {
				batch(t)
				err := t.flush()
				return repo.found, err
			})
			if err == nil {
				t.withinQuota(r.Tenant, repo.cached)
			}
			return err
		})
	}
	switch {
	case err != nil:
	case !stillOpen:
		err = nameUnknown(r)
	case u.ExpiresAt.IsZero():
		err = quotaExceeded("%d bytes are staged in %d unfinished uploads; finish or cancel some, or delete what is not needed", staged, sessions)
	}
	return u, err
}

func createdUpload(r meta.Repo, a oci.Algorithm) meta.Upload {
	u := newUpload(r, uuid.New())
	u.State, u.Algorithm = meta.UploadOpen, a
	u.Stage.Key.Incarnation = uuid.New()
	return u
}

// An ended session's object may be forgotten already. The parts are the JSON of
// []blob.Part.
const findUpload = `
SELECT u.state, u.epoch, u.off, u.algorithm, u.hash_state, u.incarnation,
       coalesce((SELECT o.multipart_id FROM objects o WHERE o.tenant_id = u.tenant_id AND o.incarnation = u.incarnation), ''),
       u.tail, coalesce((SELECT o.size FROM objects o WHERE o.tenant_id = u.tenant_id AND o.incarnation = u.tail), 0), u.digest, u.expires_at,
       (SELECT json_agg(json_build_object('Number', p.n, 'Size', p.size, 'ETag', p.etag) ORDER BY p.n)
          FROM upload_parts p WHERE p.tenant_id = u.tenant_id AND p.upload_id = u.id)
  FROM open_repositories r
  JOIN uploads u ON u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state <> 'expired'
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3`

// uploadRow has the columns of findUpload.
func uploadRow(u *meta.Upload) []any {
	return []any{
		&u.State, &u.Epoch, &u.Stage.Offset, &u.Algorithm, &u.HashState,
		uuidScanner{&u.Stage.Key.Incarnation},
		&u.Stage.Multipart,
		uuidScanner{&u.Stage.Tail.Incarnation},
		&u.Stage.Tail.Size,
		digestScanner{&u.Digest},
		timeScanner{&u.ExpiresAt},
		&u.Stage.Parts,
	}
}

func newUpload(r meta.Repo, id uuid.UUID) meta.Upload {
	u := meta.Upload{ID: id, Repo: r}
	u.Stage.Key.Tenant = int64(r.Tenant)
	return u
}

// FindUpload implements meta.Uploads.
func (s *Store) FindUpload(ctx context.Context, r meta.Repo, id uuid.UUID) (meta.Upload, error) {
	u := newUpload(r, id)
	found, err := s.find(ctx, r.Tenant, findUpload, []any{r.Tenant, r.Registry, r.Name, pgUUID(id)}, uploadRow(&u)...)
	if err == nil && !found {
		err = uploadUnknown(id)
	}
	return u, err
}

// changeUpload runs one statement on a session, in a transaction of its own,
// and reads the session as it is then. The statement does nothing unless it may.
func (s *Store) changeUpload(ctx context.Context, r meta.Repo, id uuid.UUID, change func(t *tx, changed *int64)) (meta.Upload, int64, error) {
	var (
		u       meta.Upload
		repo    *repository
		found   bool
		changed int64
	)
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		u = newUpload(r, id)
		repo = t.lockRepository(r)
		change(t, &changed)
		t.queue(findUpload, r.Tenant, r.Registry, r.Name, pgUUID(id)).QueryRow(first(&found, uploadRow(&u)...))
		return nil
	})
	if err == nil && (!repo.found || !found) {
		err = uploadUnknown(id)
	}
	return u, changed, err
}

const takeUpload = `
UPDATE uploads u SET epoch = u.epoch + 1, expires_at = berth_now() + $5::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state = 'open' AND ($6::bigint < 0 OR u.off = $6)`

// TakeUpload implements meta.Uploads.
func (s *Store) TakeUpload(ctx context.Context, r meta.Repo, id uuid.UUID, start int64) (meta.Upload, error) {
	u, taken, err := s.changeUpload(ctx, r, id, func(t *tx, taken *int64) {
		t.queue(takeUpload, r.Tenant, r.Registry, r.Name, pgUUID(id), s.life.UploadTTL, start).Exec(counted(taken))
		t.roomToStage(r.Tenant, id, s.opts.MaxStaged, 1) // before any byte is accepted
	})
	switch {
	case err != nil || taken == 1:
		return u, err
	case u.State == meta.UploadCommitted:
		return u, uploadUnknown(id)
	case u.State == meta.UploadSealed:
		return u, fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "the upload is being finished and takes no more bytes").WithOffset(u.Stage.Offset)
	default:
		return u, fault.New(fault.OutOfRange, fault.BlobUploadInvalid, "the upload stands at %d bytes, not %d", u.Stage.Offset, start).WithOffset(u.Stage.Offset)
	}
}

const cancelUpload = `
UPDATE uploads u SET state = 'expired', epoch = u.epoch + 1, expires_at = berth_now() + $5::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state IN ('open', 'sealed')
RETURNING u.incarnation, u.tail`

const isCancelled = `
SELECT 1
  FROM open_repositories r
  JOIN uploads u ON u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state = 'expired'
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3`

// CancelUpload implements meta.Uploads.
func (s *Store) CancelUpload(ctx context.Context, r meta.Repo, id uuid.UUID) error {
	return s.write(ctx, r.Tenant, func(t *tx) error {
		var found, cancelled bool
		var one int
		var incarnation, tail uuid.UUID
		repo := t.lockRepository(r)
		t.queue(cancelUpload, r.Tenant, r.Registry, r.Name, pgUUID(id), s.life.Committed).
			QueryRow(first(&found, uuidScanner{&incarnation}, uuidScanner{&tail}))
		if t.mayHaveCommitted {
			t.queue(isCancelled, r.Tenant, r.Registry, r.Name, pgUUID(id)).QueryRow(first(&cancelled, &one))
		}
		if err := t.flush(); err != nil {
			return err
		}
		if !repo.found || !found && !cancelled {
			return uploadUnknown(id)
		}
		if found {
			t.condemnStaged(r.Tenant, s.life, incarnation, tail)
		}
		return nil
	})
}

// Objects are locked by their key, in ascending order, before they change.
const condemnStaged = `
WITH locked AS (
  SELECT tenant_id, incarnation FROM objects
   WHERE tenant_id = $1 AND incarnation = ANY ($2::uuid[]) AND state::text = 'S'
   ORDER BY tenant_id, incarnation FOR UPDATE
)
UPDATE objects o SET state = 'D', delete_after = berth_now() + $3::interval
  FROM locked WHERE o.tenant_id = locked.tenant_id AND o.incarnation = locked.incarnation`

// condemnStaged queues the condemnation of a session's objects that are still
// staged; nil UUIDs (uuid.Nil) are left out.
func (t *tx) condemnStaged(id tenant.ID, life meta.Lifetimes, incarnations ...uuid.UUID) {
	if staged := pgUUIDs(incarnations...); len(staged) > 0 {
		t.queue(condemnStaged, id, staged, life.StagedDelay)
	}
}
