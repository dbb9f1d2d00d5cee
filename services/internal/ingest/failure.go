package ingest

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// StageOf is the session for the blob store.
func StageOf(u meta.Upload) blob.Stage {
	st := u.Stage
	st.Epoch = u.Epoch
	return st
}

// Failure is the answer for what the blob store failed with at the session; what
// is not a word of the store stays as it is, and so does nil.
func (s Sessions) Failure(ctx context.Context, u meta.Upload, err error) error {
	switch {
	case errors.Is(err, blob.ErrFenced):
		return s.fenced(ctx, u, err)
	case errors.Is(err, blob.ErrMissing):
		return Unknown(err)
	}
	return err
}

// fenced is the answer for a writer that lost its session to another: 416
// with the offset that holds now, or 404 if the session ended. Package meta
// has said so already where it was the one to notice.
func (s Sessions) fenced(ctx context.Context, u meta.Upload, cause error) error {
	var known *fault.Error
	if errors.As(cause, &known) {
		return cause
	}
	// Ending the read that waited for the client ended the request's context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	now, err := s.Meta.FindUpload(ctx, u.Repo, u.ID)
	if err != nil {
		return err
	}
	return fault.Wrap(cause, fault.OutOfRange, fault.BlobUploadInvalid, "another request has taken over this upload").
		WithOffset(now.Stage.Offset)
}

// Unknown is the answer for a session that cannot continue.
func Unknown(cause error) error {
	return fault.Wrap(cause, fault.NotFound, fault.BlobUploadUnknown, "upload not found; start a new one")
}
