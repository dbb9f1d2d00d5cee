package upload

import (
	"context"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/ingest"
)

// AppendUploadRequest adds bytes to a session.
type AppendUploadRequest struct {
	Repo meta.Repo
	ID   uuid.UUID
	Body Body
}

// AppendUpload takes the session over from its previous writer and appends
// the body (distribution-spec, "Pushing a blob in chunks"). When the client
// leaves, the session keeps what has arrived.
func (s *Service) AppendUpload(ctx context.Context, req AppendUploadRequest) (SessionResponse, error) {
	if err := blob.CheckRoom(ctx, s.blobs, req.Body.Length); err != nil {
		return SessionResponse{}, err
	}
	u, err := s.meta.TakeUpload(ctx, req.Repo, req.ID, req.Body.Start)
	if err != nil {
		return SessionResponse{}, err
	}
	u, _, err = s.receive(ctx, u, req.Body)
	return responseOf(u), withOffset(u, err)
}

// receive appends the body to a session that the caller owns, and returns the
// updated session with the hasher of all its bytes. The client may pause once it
// has sent bytes that it would have to send again.
func (s *Service) receive(ctx context.Context, u meta.Upload, b Body) (meta.Upload, *oci.Hasher, error) {
	h, err := s.hasherOf(ctx, u)
	if err != nil {
		return u, nil, err
	}
	first := func() { web.AllowPause(ctx, int64(u.Repo.Tenant)) }
	if u.Stage.Offset > 0 {
		first()
	}
	u, err = s.sessions.Append(ctx, u, newSource(b, h, first))
	return u, h, bodyError(err)
}

// withOffset adds the session's offset to the error for a body that paused too
// long.
func withOffset(u meta.Upload, err error) error {
	if fault.KindOf(err) != fault.TooSlow {
		return err
	}
	return fault.From(err).WithOffset(u.Stage.Offset)
}

// hasherOf resumes the session's hasher. If the state is damaged, or of another
// offset, it hashes the stored bytes again.
func (s *Service) hasherOf(ctx context.Context, u meta.Upload) (*oci.Hasher, error) {
	h, err := oci.ResumeHasher(u.Algorithm, u.HashState)
	if err == nil && h.Size() == u.Stage.Offset {
		return h, nil
	}
	return s.rehash(ctx, u, u.Algorithm)
}

// rehash hashes the session's stored bytes.
func (s *Service) rehash(ctx context.Context, u meta.Upload, a oci.Algorithm) (*oci.Hasher, error) {
	h := oci.NewHasher(a)
	if u.Stage.Offset == 0 {
		return h, nil
	}
	c, err := s.blobs.OpenStaged(ctx, ingest.StageOf(u))
	if err != nil {
		return nil, s.sessions.Failure(ctx, u, err)
	}
	defer c.Close()
	n, err := io.Copy(h, io.LimitReader(cancellable{ctx, c}, u.Stage.Offset))
	switch {
	case ctx.Err() != nil:
		return nil, fault.From(context.Cause(ctx))
	case err != nil:
		return nil, fault.Down(fmt.Errorf("read %s back: %w", u.Stage.Key, err), "blob storage")
	case n < u.Stage.Offset:
		return nil, ingest.Unknown(fmt.Errorf("%s has %d of %d bytes", u.Stage.Key, n, u.Stage.Offset))
	}
	return h, nil
}

// cancellable ends reading when the client leaves: a blob may be hundreds of
// gigabytes long.
type cancellable struct {
	ctx context.Context
	io.Reader
}

func (a cancellable) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	return a.Reader.Read(p)
}
