package registry

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/kit"
	"github.com/berth-registry/berth/services/internal/respond"
)

// BlobRef names a blob of a repository.
type BlobRef struct {
	Repo   meta.Repo
	Digest oci.Digest
}

// OpenBlobRequest asks for the bytes of a blob.
type OpenBlobRequest struct {
	BlobRef
	Redirect bool   // prefer a redirect, if the store lets clients fetch blobs
	Range    string // the Range header, as a hint for the store
}

// OpenBlob opens a blob.
func (s *Service) OpenBlob(ctx context.Context, req OpenBlobRequest) (respond.OpenBlobResponse, error) {
	b, err := s.meta.FindBlob(ctx, req.Repo, req.Digest)
	if err != nil {
		return respond.OpenBlobResponse{}, markNotHosted(err)
	}
	return s.blobs.Open(ctx, b, req.Redirect, req.Range)
}

// StatBlobRequest asks whether a blob exists.
type StatBlobRequest struct {
	BlobRef
	MayPush bool // the caller may push here, and will not upload an existing blob
}

// StatBlob finds a blob without opening it. For a caller who may push, the blob
// then stays long enough to push a manifest with it (storage protocol, section 5).
func (s *Service) StatBlob(ctx context.Context, req StatBlobRequest) (meta.Blob, error) {
	find := s.meta.FindBlob
	if req.MayPush {
		find = s.meta.CheckBlob
	}
	b, err := find(ctx, req.Repo, req.Digest)
	return b, markNotHosted(err)
}

// DeleteBlobRequest names a blob to delete from a repository.
type DeleteBlobRequest struct {
	BlobRef
	By meta.Cause
}

// DeleteBlob removes the blob from the repository, not from others that hold it.
func (s *Service) DeleteBlob(ctx context.Context, req DeleteBlobRequest) (kit.Empty, error) {
	return kit.Empty{}, s.meta.DeleteBlob(ctx, req.By, req.Repo, req.Digest)
}
