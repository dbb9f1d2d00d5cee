package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// afterwards bounds what is done for a request whose client may have left.
const afterwards = 10 * time.Second

// AppendUpload brings a session more bytes.
type AppendUpload struct {
	Repo meta.Repo
	ID   uuid.UUID
	Body Body
}

// AppendUpload takes the session over from whoever was writing it and appends
// the body (distribution-spec, "Pushing a blob in chunks"). When the client
// leaves, the session keeps what has arrived.
func (s *Service) AppendUpload(ctx context.Context, req AppendUpload) (Session, error) {
	u, err := s.meta.TakeUpload(ctx, req.Repo, req.ID, req.Body.Start)
	if err != nil {
		return Session{}, err
	}
	u, _, err = s.receive(ctx, u, req.Body)
	return sessionOf(u), err
}

// receive appends the body to a session that the caller owns, and returns the
// session as it is then, with the hasher of all its bytes.
func (s *Service) receive(ctx context.Context, u meta.Upload, b Body) (meta.Upload, *oci.Hasher, error) {
	h, err := s.hasherOf(ctx, u)
	if err != nil {
		return u, nil, err
	}
	j := meta.NewJournal(s.meta, u)
	err = s.blobs.Append(ctx, stageOf(u), newSource(b, h), j)
	switch {
	case errors.Is(err, blob.ErrFenced):
		err = s.overtaken(ctx, u, err)
	case errors.Is(err, blob.ErrMissing):
		err = unknown(err)
	}
	return j.Upload(), h, broken(err)
}

// stageOf is the session for the blob store.
func stageOf(u meta.Upload) blob.Stage {
	st := u.Stage
	st.Epoch = u.Epoch
	return st
}

// overtaken is the answer for a writer that lost its session to another: 416
// with the offset that holds now, or 404 if the session ended. Package meta
// has said so already where it was the one to notice.
func (s *Service) overtaken(ctx context.Context, u meta.Upload, cause error) error {
	var known *fault.Error
	if errors.As(cause, &known) {
		return cause
	}
	// Ending the read that waited for the client ended the request's context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	now, err := s.meta.FindUpload(ctx, u.Repo, u.ID)
	if err != nil {
		return err
	}
	return fault.Wrap(cause, fault.OutOfRange, fault.BlobUploadInvalid, "another request took this upload over").
		WithOffset(now.Stage.Offset)
}

// hasherOf resumes the session's hasher. A state that is damaged, or of other
// bytes than those stored, is made again from what is stored.
func (s *Service) hasherOf(ctx context.Context, u meta.Upload) (*oci.Hasher, error) {
	h, err := oci.ResumeHasher(u.Algorithm, u.HashState)
	if err == nil && h.Size() == u.Stage.Offset {
		return h, nil
	}
	return s.rehash(ctx, u, u.Algorithm)
}

// rehash reads the session's bytes back.
func (s *Service) rehash(ctx context.Context, u meta.Upload, a oci.Algorithm) (*oci.Hasher, error) {
	h := oci.NewHasher(a)
	if u.Stage.Offset == 0 {
		return h, nil
	}
	c, err := s.blobs.OpenStaged(ctx, stageOf(u))
	switch {
	case errors.Is(err, blob.ErrMissing):
		return nil, unknown(err)
	case errors.Is(err, blob.ErrFenced):
		return nil, s.overtaken(ctx, u, err)
	case err != nil:
		return nil, err
	}
	defer c.Close()
	n, err := io.Copy(h, io.LimitReader(awaited{ctx, c}, u.Stage.Offset))
	switch {
	case ctx.Err() != nil:
		return nil, fault.From(context.Cause(ctx))
	case err != nil:
		return nil, fault.Down(fmt.Errorf("read %s back: %w", u.Stage.Key, err), "blob storage")
	case n < u.Stage.Offset:
		return nil, unknown(fmt.Errorf("%s has %d of %d bytes", u.Stage.Key, n, u.Stage.Offset))
	}
	return h, nil
}

// awaited reads as long as somebody waits for it: whoever asks and leaves must
// not keep this process busy with what may be hundreds of gigabytes.
type awaited struct {
	ctx context.Context
	io.Reader
}

func (a awaited) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	return a.Reader.Read(p)
}
