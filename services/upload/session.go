package upload

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/ingest"
	"github.com/berth-registry/berth/services/internal/kit"
)

// StartUploadRequest asks for a new session.
type StartUploadRequest struct {
	Repo      meta.Repo
	Algorithm oci.Algorithm // of the digest; a commit with another one reads the bytes again
}

// StartUpload creates a session (distribution-spec, "Pushing blobs").
func (s *Service) StartUpload(ctx context.Context, req StartUploadRequest) (SessionResponse, error) {
	if err := blob.CheckRoom(ctx, s.blobs, 0); err != nil {
		return SessionResponse{}, err
	}
	u, err := s.meta.CreateUpload(ctx, req.Repo, req.Algorithm)
	return responseOf(u), err
}

// SessionRequest asks for a session, or for its end.
type SessionRequest struct {
	Repo meta.Repo
	ID   uuid.UUID
}

// FindUpload returns the offset of a session. A committed session is not found.
func (s *Service) FindUpload(ctx context.Context, req SessionRequest) (SessionResponse, error) {
	u, err := s.meta.FindUpload(ctx, req.Repo, req.ID)
	if err == nil && u.State == meta.UploadCommitted {
		err = ingest.Unknown(nil)
	}
	return responseOf(u), err
}

// CancelUpload ends a session; its bytes are deleted later.
func (s *Service) CancelUpload(ctx context.Context, req SessionRequest) (kit.Empty, error) {
	return kit.Empty{}, s.meta.CancelUpload(ctx, req.Repo, req.ID)
}
