package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// CommitUpload closes a session, with its last bytes or without any.
type CommitUpload struct {
	Repo   meta.Repo
	ID     uuid.UUID
	Digest oci.Digest // of the whole blob
	Body   Body
	By     meta.Cause
}

// CommitUpload makes the session's bytes a blob if they have the digest; if
// they have not, the session stays. It may be repeated: a session that is
// sealed is brought to its end, one that is committed answers again (R8).
func (s *Service) CommitUpload(ctx context.Context, req CommitUpload) (Stored, error) {
	u, err := s.meta.FindUpload(ctx, req.Repo, req.ID)
	switch {
	case err != nil:
		return Stored{}, err
	case u.State == meta.UploadOpen:
		u, err = s.complete(ctx, u, req)
	default:
		err = req.Body.discard()
	}
	if err != nil {
		return Stored{}, err
	}
	return s.commit(ctx, req.By, u, req.Digest)
}

// complete appends the last bytes and checks the digest.
func (s *Service) complete(ctx context.Context, u meta.Upload, req CommitUpload) (meta.Upload, error) {
	var h *oci.Hasher
	var err error
	if req.Body.empty() {
		h, err = s.hasherOf(ctx, u)
	} else if u, err = s.meta.TakeUpload(ctx, req.Repo, req.ID, req.Body.Start); err == nil {
		u, h, err = s.receive(ctx, u, req.Body)
	}
	if err != nil {
		return u, err
	}
	return u, s.verify(ctx, u, h, req.Digest)
}

// PutBlob brings a whole blob in one request.
type PutBlob struct {
	Repo   meta.Repo
	Digest oci.Digest
	Body   Body
	By     meta.Cause
}

// PutBlob stores a blob (distribution-spec, "Single POST"). Its session is
// known to nobody, so that nothing is kept of a body that is broken or wrong.
func (s *Service) PutBlob(ctx context.Context, req PutBlob) (Stored, error) {
	u, err := s.meta.CreateUpload(ctx, req.Repo, req.Digest.Algorithm())
	if err != nil {
		return Stored{}, err
	}
	received, h, err := s.receive(ctx, u, req.Body)
	if err == nil {
		err = s.verify(ctx, received, h, req.Digest)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
		defer cancel()
		return Stored{}, errors.Join(err, s.meta.CancelUpload(ctx, u.Repo, u.ID))
	}
	return s.commit(ctx, req.By, received, req.Digest)
}

// verify compares the digest of the stored bytes with the claimed one. One
// whose algorithm was not declared at the start costs reading them again.
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

// commit makes a verified session a live blob: sealed, finished in the store,
// then one transaction. Every step may be repeated.
func (s *Service) commit(ctx context.Context, by meta.Cause, u meta.Upload, d oci.Digest) (Stored, error) {
	sealed, err := s.meta.SealUpload(ctx, u, d)
	if err != nil {
		return Stored{}, err
	}
	heal := false
	if sealed.State != meta.UploadCommitted {
		if err := s.finish(ctx, sealed); err != nil {
			return Stored{}, err
		}
		if heal, err = s.winnerIsLost(ctx, sealed); err != nil {
			return Stored{}, err
		}
	}
	b, err := s.meta.CommitUpload(ctx, by, sealed, heal)
	return Stored{Repo: u.Repo, Blob: b}, err
}

// finish makes the session's bytes one object and checks its size.
func (s *Service) finish(ctx context.Context, u meta.Upload) error {
	size, err := s.blobs.Seal(ctx, stageOf(u))
	switch {
	case errors.Is(err, blob.ErrMissing):
		return unknown(err)
	case errors.Is(err, blob.ErrFenced):
		return s.overtaken(ctx, u, err)
	case err != nil:
		return err
	case size != u.Stage.Offset:
		return fault.Down(fmt.Errorf("%s has %d bytes, not %d", u.Stage.Key, size, u.Stage.Offset), "blob storage")
	}
	return nil
}

// winnerIsLost says whether the tenant already has this blob by an object that
// is missing or wrong: then the new one takes its place.
func (s *Service) winnerIsLost(ctx context.Context, u meta.Upload) (bool, error) {
	winner, err := s.meta.FindTenantBlob(ctx, u)
	switch {
	case fault.Is(err, fault.BlobUnknown):
		return false, nil
	case err != nil:
		return false, err
	case winner.Key == u.Stage.Key:
		return false, nil
	}
	size, err := s.blobs.Stat(ctx, winner.Key)
	if errors.Is(err, blob.ErrMissing) {
		return true, nil
	}
	return size != winner.Size, err
}
