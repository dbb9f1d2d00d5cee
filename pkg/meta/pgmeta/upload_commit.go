package pgmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const sealUpload = `
UPDATE uploads u SET state = 'sealed', digest = $7, epoch = u.epoch + 1, expires_at = berth_now() + $8::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id
   AND (u.state = 'open' AND u.epoch = $5 AND u.off = $6 OR u.state = 'sealed' AND u.digest = $7)`

// SealUpload implements meta.Uploads.
func (s *Store) SealUpload(ctx context.Context, u meta.Upload, d oci.Digest) (meta.Upload, error) {
	r := u.Repo
	sealed, changed, err := s.changeUpload(ctx, r, u.ID, func(t *tx, changed *int64) {
		t.queue(sealUpload, r.Tenant, r.Registry, r.Name, pgUUID(u.ID), u.Epoch, u.Stage.Offset, d.Bytes(), s.life.UploadTTL).Exec(counted(changed))
	})
	switch {
	case err != nil, changed == 1, sealed.State == meta.UploadCommitted && sealed.Digest == d:
		return sealed, err
	case sealed.State == meta.UploadOpen:
		return sealed, fenced(sealed.Stage.Offset)
	default:
		return sealed, finishedAs(sealed.Digest)
	}
}

func finishedAs(d oci.Digest) error {
	return fault.New(fault.Invalid, fault.DigestInvalid, "the upload was finished as %s", d)
}

const findTenantBlob = `SELECT size, incarnation FROM blobs WHERE tenant_id = $1 AND digest = $2`

// FindTenantBlob implements meta.Uploads.
func (s *Store) FindTenantBlob(ctx context.Context, u meta.Upload) (meta.Blob, error) {
	b := newBlob(u.Repo.Tenant, u.Digest)
	found, err := s.find(ctx, u.Repo.Tenant, findTenantBlob, []any{u.Repo.Tenant, u.Digest.Bytes()}, &b.Size, uuidScanner{&b.Key.Incarnation})
	if err == nil && !found {
		err = blobUnknown(u.Digest)
	}
	return b, err
}

// The first batch of a commit: each statement acts only if the one before it did.
const (
	commitUpload = `
UPDATE uploads u SET state = 'committed', epoch = u.epoch + 1, expires_at = berth_now() + $6::interval
  FROM open_repositories r
 WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3
   AND u.tenant_id = r.tenant_id AND u.id = $4 AND u.repo_id = r.id AND u.state = 'sealed' AND u.epoch = $5
RETURNING u.digest, u.off, u.incarnation, u.tail`

	makeLive = `
UPDATE objects SET state = 'L', size = (SELECT off FROM uploads WHERE tenant_id = $1 AND id = $2)
 WHERE tenant_id = $1 AND state::text = 'S'
   AND incarnation = (SELECT incarnation FROM uploads WHERE tenant_id = $1 AND id = $2 AND state = 'committed' AND epoch = $3::bigint + 1)`

	upsertBlob = `
INSERT INTO blobs (tenant_id, digest, size, incarnation, keep_until, hosted)
SELECT u.tenant_id, u.digest, u.off, u.incarnation, berth_now() + $4::interval, NOT u.cached
  FROM uploads u
 WHERE u.tenant_id = $1 AND u.id = $2 AND u.state = 'committed' AND u.epoch = $3::bigint + 1
   AND (SELECT o.state = 'L' FROM objects o WHERE o.tenant_id = u.tenant_id AND o.incarnation = u.incarnation)
ON CONFLICT (tenant_id, digest) DO UPDATE SET keep_until = greatest(blobs.keep_until, excluded.keep_until)
RETURNING incarnation, suspect, cached OR trash`
)

// CommitUpload implements meta.Uploads; the order is that of protocol section
// 4, PUT, step 5, in two batches.
func (s *Store) CommitUpload(ctx context.Context, by meta.Cause, u meta.Upload, heal bool) (meta.Blob, error) {
	var b meta.Blob
	before := false
	err := s.write(ctx, u.Repo.Tenant, func(t *tx) error {
		c := committing{tx: t, store: s, upload: u}
		if err := c.lock(); err != nil {
			return err
		}
		if before = !c.sealed; before {
			return errUndo
		}
		if c.live == 0 {
			return uploadUnknown(u.ID) // the reaper expired it
		}
		if !c.repo.cached || by.Op != uuid.Nil { // a fetch is not a push
			var recorded int64
			if err := c.repositoryEvent(by, u.Repo, "blob.push", "@"+c.digest.String(), &recorded); err != nil {
				return err
			}
		}
		b = newBlob(u.Repo.Tenant, c.digest)
		b.Size = c.size
		b.Key.Incarnation = c.settle(heal)
		return nil
	})
	if err == nil && before {
		return s.committedBefore(ctx, u)
	}
	return b, err
}

// committedBefore returns the result of a repeated commit from the present session.
func (s *Store) committedBefore(ctx context.Context, u meta.Upload) (meta.Blob, error) {
	now, err := s.FindUpload(ctx, u.Repo, u.ID)
	switch {
	case err != nil:
		return meta.Blob{}, err
	case now.State != meta.UploadCommitted:
		return meta.Blob{}, fenced(now.Stage.Offset)
	case now.Digest != u.Digest:
		return meta.Blob{}, finishedAs(now.Digest)
	}
	b, err := s.CheckBlob(ctx, u.Repo, now.Digest)
	if fault.Is(err, fault.BlobUnknown) {
		err = uploadUnknown(u.ID) // deleted since; the client must upload again
	}
	return b, err
}

// committing is a running CommitUpload.
type committing struct {
	*tx
	store  *Store
	upload meta.Upload

	repo              *repository
	sealed            bool // and now committed, by this transaction
	digest            oci.Digest
	size              int64
	incarnation, tail uuid.UUID
	live              int64     // objects made live
	present           uuid.UUID // the object of the tenant's blob
	suspect           bool
	notLive           bool // the tenant has the blob, and only from an upstream or in the trash
}

// lock is the first batch.
func (c *committing) lock() error {
	u, life := c.upload, c.store.life
	c.repo = c.lockRepository(u.Repo)
	c.queue(commitUpload, u.Repo.Tenant, u.Repo.Registry, u.Repo.Name, pgUUID(u.ID), u.Epoch, life.Committed).
		QueryRow(first(&c.sealed, digestScanner{&c.digest}, &c.size, uuidScanner{&c.incarnation}, uuidScanner{&c.tail}))
	c.queue(makeLive, u.Repo.Tenant, pgUUID(u.ID), u.Epoch).Exec(counted(&c.live))
	var upserted bool
	c.queue(upsertBlob, u.Repo.Tenant, pgUUID(u.ID), u.Epoch, life.Grace).QueryRow(first(&upserted, uuidScanner{&c.present}, &c.suspect, &c.notLive))
	return c.flush()
}

const pointBlob = `UPDATE blobs SET incarnation = $3, suspect = false WHERE tenant_id = $1 AND digest = $2`

const condemnLive = `
UPDATE objects SET state = 'D', delete_after = berth_now() + $3::interval, cached = $4, digest = $5
 WHERE tenant_id = $1 AND incarnation = $2 AND state = 'L'`

// A trigger charges the row.
const chargeUsage = `UPDATE usage SET used = used + $2 WHERE tenant_id = $1`

// settle queues the second batch and returns the new incarnation of the blob.
func (c *committing) settle(heal bool) uuid.UUID {
	t, life := c.upload.Repo.Tenant, c.store.life
	present, isNew := c.present, c.present == c.incarnation
	switch {
	case isNew:
	case c.suspect || heal:
		// The pushed object replaces a missing or wrong one.
		c.queue(pointBlob, t, c.digest.Bytes(), pgUUID(c.incarnation))
		c.queue(condemnLive, t, pgUUID(present), life.DeleteDelay, false, c.digest.Bytes())
		present = c.incarnation
	default:
		// This object was never visible, so it is deleted like a staged one.
		c.queue(condemnLive, t, pgUUID(c.incarnation), life.StagedDelay, c.repo.cached, c.digest.Bytes())
	}
	c.condemnStaged(t, life, c.tail)
	c.queue(linkBlob, t, c.repo.id, c.digest.Bytes(), life.Grace)
	if isNew {
		c.queue(chargeUsage, t, c.size)
	}
	if isNew || c.notLive && !c.repo.cached {
		c.withinQuota(t, c.repo.cached)
	}
	return present
}
