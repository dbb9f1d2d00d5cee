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

// StartUpload asks for a new session.
type StartUpload struct {
	Repo      meta.Repo
	Algorithm oci.Algorithm // of the digest to come; another one costs a second read
}

// StartUpload makes a session (distribution-spec, "Pushing blobs").
func (s *Service) StartUpload(ctx context.Context, req StartUpload) (Session, error) {
	if err := blob.CheckRoom(ctx, s.blobs, 0); err != nil {
		return Session{}, err
	}
	u, err := s.meta.CreateUpload(ctx, req.Repo, req.Algorithm)
	return sessionOf(u), err
}

// NameUpload names a session.
type NameUpload struct {
	Repo meta.Repo
	ID   uuid.UUID
}

// FindUpload says how far a session is. One that has become a blob is over.
func (s *Service) FindUpload(ctx context.Context, req NameUpload) (Session, error) {
	u, err := s.meta.FindUpload(ctx, req.Repo, req.ID)
	if err == nil && u.State == meta.UploadCommitted {
		err = ingest.Unknown(nil)
	}
	return sessionOf(u), err
}

// CancelUpload ends a session; its bytes are deleted later.
func (s *Service) CancelUpload(ctx context.Context, req NameUpload) (kit.Done, error) {
	return kit.Done{}, s.meta.CancelUpload(ctx, req.Repo, req.ID)
}
