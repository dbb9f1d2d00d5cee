package upload

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// mountSources is how many repositories are tried when the client names none.
const mountSources = 16

// MountBlobRequest asks for a blob of another repository.
type MountBlobRequest struct {
	Repo      meta.Repo
	Digest    oci.Digest
	From      string                       // empty: any repository that the caller may pull from
	MayPull   func(repository string) bool // of the same registry
	Algorithm oci.Algorithm                // of the session if the blob is not mounted
	By        meta.Cause
}

// MountBlobResponse is a mounted blob, or a session to upload it in.
type MountBlobResponse struct {
	Stored  *BlobResponse // nil: use Session
	Session SessionResponse
}

// MountBlob links the blob from a hosted repository of this registry that the
// caller may pull from. If it cannot, for any reason, it starts a session: no
// response shows what other repositories hold (contract row C2).
func (s *Service) MountBlob(ctx context.Context, req MountBlobRequest) (MountBlobResponse, error) {
	sources, err := s.sources(ctx, req)
	if err != nil {
		return MountBlobResponse{}, err
	}
	for _, from := range sources {
		b, err := s.meta.MountBlob(ctx, req.By, from, req.Repo, req.Digest)
		switch {
		case err == nil:
			return MountBlobResponse{Stored: &BlobResponse{Repo: req.Repo, Blob: b, Shared: true}}, nil
		case fault.KindOf(err) != fault.NotFound:
			return MountBlobResponse{}, err
		}
	}
	session, err := s.StartUpload(ctx, StartUploadRequest{Repo: req.Repo, Algorithm: req.Algorithm})
	return MountBlobResponse{Session: session}, err
}

// sources lists the repositories to try.
func (s *Service) sources(ctx context.Context, req MountBlobRequest) ([]meta.Repo, error) {
	if req.From != "" {
		if isName := oci.CheckName(req.From) == nil; !isName || !req.MayPull(req.From) {
			return nil, nil
		}
		from := req.Repo
		from.Name = req.From
		return []meta.Repo{from}, nil
	}
	found, err := s.meta.FindSources(ctx, req.Repo.Tenant, req.Digest, mountSources)
	if err != nil {
		return nil, err
	}
	allowed := found[:0]
	for _, r := range found {
		if r.Registry == req.Repo.Registry && req.MayPull(r.Name) {
			allowed = append(allowed, r)
		}
	}
	return allowed, nil
}
