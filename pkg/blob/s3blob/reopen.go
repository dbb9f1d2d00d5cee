package s3blob

import (
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-registry/berth/pkg/blob"
)

// reopen continues a session of parts whose multipart upload was ended to read it
// back (OpenStaged). Its parts are sent once more, from the
// object that they became, to a new upload under the same key. What is
// remembered of them stays true: ErrMissing where the store has another word for
// the same bytes now.
func (a *appending) reopen(ctx context.Context) error {
	if len(a.stage.Parts) == 0 {
		return nil
	}
	switch open, err := a.store.isOpen(ctx, a.stage.Key, a.upload); {
	case err != nil:
		return down(err, "examine a multipart upload")
	case open:
		return nil
	}
	c, err := a.store.Open(ctx, a.stage.Key)
	if err != nil {
		return err
	}
	if c.Size() != a.stage.Offset {
		return errors.Join(missing("continue what became another object"), c.Close())
	}
	id, err := a.store.createUpload(ctx, a.stage.Key)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	if err := errors.Join(a.resend(ctx, c, id), c.Close()); err != nil {
		// If this fails too, Delete finds the upload by its key.
		_ = a.store.abort(context.WithoutCancel(ctx), a.stage.Key.String(), id)
		return err
	}
	return a.use(ctx, id)
}

// use records the multipart upload that this Append made. It is aborted only
// where another writer owns the session: after a COMMIT whose answer is lost it
// may be the session's, whose parts then could not be put together then. Otherwise
// Delete finds it by its key.
func (a *appending) use(ctx context.Context, id string) error {
	err := a.ask(ctx, func(ctx context.Context) error { return a.keeper.Multipart(ctx, id) })
	if errors.Is(err, blob.ErrFenced) {
		_ = a.store.abort(context.WithoutCancel(ctx), a.stage.Key.String(), id)
	}
	if err == nil {
		a.upload = id
	}
	return err
}

// resend sends the parts, one after the other, to another upload.
func (a *appending) resend(ctx context.Context, c io.Reader, id string) error {
	for _, p := range a.stage.Parts {
		if a.turn.IsFenced() {
			return blob.ErrFenced
		}
		sp := a.store.pool.spool(a.stage.Key.Tenant)
		err := sp.fill(io.LimitReader(c, p.Size), idle)
		var sent blob.Part
		if err == nil {
			sent, err = a.store.putPart(ctx, a.stage.Key, id, p.Number, sp)
		}
		sp.free()
		switch {
		case err != nil:
			return err
		case sent != p:
			return missing("continue with a part whose ETag has changed")
		}
	}
	return nil
}

// isOpen says whether there is a multipart upload.
func (s *Store) isOpen(ctx context.Context, k blob.Key, id string) (bool, error) {
	_, err := s.client.ListParts(ctx, &s3.ListPartsInput{
		Bucket: &s.bucket, Key: aws.String(k.String()), UploadId: &id, MaxParts: aws.Int32(1),
	})
	if isNoUpload(err) {
		return false, nil
	}
	return true, err
}

// createUpload starts a multipart upload.
func (s *Store) createUpload(ctx context.Context, k blob.Key) (string, error) {
	created, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: aws.String(k.String()),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ContentType: aws.String(mediaType),
	})
	if err != nil {
		return "", down(err, "start a multipart upload")
	}
	return aws.ToString(created.UploadId), nil
}
