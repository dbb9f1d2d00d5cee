package upload

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// CommitUploadRequest commits a session, optionally with its last bytes.
type CommitUploadRequest struct {
	Repo   meta.Repo
	ID     uuid.UUID
	Digest oci.Digest // of the whole blob
	Body   Body
	By     meta.Cause
}

// CommitUpload makes the session's bytes a blob if they have the digest; otherwise
// the session stays. It may be repeated: it commits a sealed session, and returns
// the same result for a committed one (R8).
func (s *Service) CommitUpload(ctx context.Context, req CommitUploadRequest) (BlobResponse, error) {
	u, err := s.meta.FindUpload(ctx, req.Repo, req.ID)
	switch {
	case err != nil:
		return BlobResponse{}, err
	case u.State == meta.UploadOpen:
		u, err = s.complete(ctx, u, req)
	default:
		web.AllowPause(ctx, int64(req.Repo.Tenant)) // the session holds all bytes
		err = req.Body.discard()
	}
	if err != nil {
		return BlobResponse{}, err
	}
	return s.commit(ctx, req.By, u, req.Digest)
}

// complete appends the last bytes and checks the digest.
func (s *Service) complete(ctx context.Context, u meta.Upload, req CommitUploadRequest) (meta.Upload, error) {
	var h *oci.Hasher
	var err error
	if req.Body.empty() {
		h, err = s.hasherOf(ctx, u)
	} else if u, err = s.meta.TakeUpload(ctx, req.Repo, req.ID, req.Body.Start); err == nil {
		u, h, err = s.receive(ctx, u, req.Body)
		err = withOffset(u, err)
	}
	if err != nil {
		return u, err
	}
	return u, s.verify(ctx, u, h, req.Digest)
}

// PutBlobRequest is a whole blob in one request.
type PutBlobRequest struct {
	Repo   meta.Repo
	Digest oci.Digest
	Body   Body
	By     meta.Cause
}

// PutBlob stores a blob (distribution-spec, "Single POST"). No client knows its
// session, so an incomplete or wrong body is dropped.
func (s *Service) PutBlob(ctx context.Context, req PutBlobRequest) (BlobResponse, error) {
	if err := blob.CheckRoom(ctx, s.blobs, req.Body.Length); err != nil {
		return BlobResponse{}, err
	}
	u, err := s.meta.CreateUpload(ctx, req.Repo, req.Digest.Algorithm())
	if err != nil {
		return BlobResponse{}, err
	}
	received, h, err := s.receive(ctx, u, req.Body)
	if err == nil {
		err = s.verify(ctx, received, h, req.Digest)
	}
	if err != nil {
		if fault.KindOf(err) == fault.Full {
			return BlobResponse{}, err // nothing is left of it
		}
		return BlobResponse{}, errors.Join(err, s.sessions.Discard(ctx, u))
	}
	return s.commit(ctx, req.By, received, req.Digest)
}

// verify compares the digest of the stored bytes with the claimed one. If its
// algorithm was not declared at the start, it reads the bytes again.
func (s *Service) verify(ctx context.Context, u meta.Upload, h *oci.Hasher, claimed oci.Digest) error {
	if a := claimed.Algorithm(); a != h.Algorithm() {
		var err error
		if h, err = s.rehash(ctx, u, a); err != nil {
			return err
		}
	}
	if got := h.Digest(); got != claimed {
		return fault.New(fault.Invalid, fault.DigestInvalid,
			"the %d bytes of this upload have the digest %s, not %s", u.Stage.Offset, got, claimed)
	}
	return nil
}

func (s *Service) commit(ctx context.Context, by meta.Cause, u meta.Upload, d oci.Digest) (BlobResponse, error) {
	b, err := s.sessions.Commit(ctx, by, u, d)
	shared := u.State != meta.UploadCommitted && b.Key != u.Stage.Key // a repetition says nothing new
	return BlobResponse{Repo: u.Repo, Blob: b, Shared: shared}, err
}
