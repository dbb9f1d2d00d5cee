package s3blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/identity"
)

// identityKey is the key of the identity. No object's key is like it: they begin
// with "o/".
const identityKey = "berth-identity"

// ReadIdentity implements blob.Identified.
func (s *Store) ReadIdentity(ctx context.Context) (identity.Identity, error) {
	id, _, err := s.readIdentity(ctx)
	return id, err
}

// readIdentity also returns the ETag.
func (s *Store) readIdentity(ctx context.Context) (identity.Identity, string, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(identityKey)})
	if isAbsent(err) {
		// The answer of a bucket that is not there is another one.
		return identity.Identity{}, "", missing("read the identity")
	}
	if err != nil {
		return identity.Identity{}, "", down(err, "read the identity")
	}
	text, err := io.ReadAll(io.LimitReader(out.Body, identity.MaxBytes+1))
	if err := errors.Join(err, out.Body.Close()); err != nil {
		return identity.Identity{}, "", down(err, "read the identity")
	}
	id, err := identity.Parse(text)
	if err != nil {
		return id, "", down(err, "read the identity in "+identityKey)
	}
	return id, aws.ToString(out.ETag), nil
}

// WriteIdentity implements blob.Identified. The store compares, where it can;
// where it cannot, another identity that comes between is overwritten. That does
// no harm to nodes of one deployment, which write the same except for the
// generation, and a store may be behind its database.
func (s *Store) WriteIdentity(ctx context.Context, was, next identity.Identity) error {
	got, etag, err := s.readIdentity(ctx)
	switch {
	case err != nil && !errors.Is(err, blob.ErrMissing):
		return err
	case got != was:
		return blob.ErrChanged
	}
	text := next.Marshal()
	in := &s3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String(identityKey), ContentType: aws.String("application/json"),
		Body: bytes.NewReader(text), ContentLength: aws.Int64(int64(len(text))),
	}
	if etag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &etag
	}
	_, err = s.client.PutObject(ctx, in)
	if statusOf(err) == http.StatusNotImplemented {
		in.IfMatch, in.IfNoneMatch, in.Body = nil, nil, bytes.NewReader(text)
		_, err = s.client.PutObject(ctx, in)
	}
	switch {
	case err == nil:
		return nil
	case isCode(err, "PreconditionFailed", "ConditionalRequestConflict") || statusOf(err) == http.StatusPreconditionFailed,
		etag != "" && isAbsent(err): // If-Match of an object that is gone
		return blob.ErrChanged
	default:
		return down(err, "write the identity")
	}
}

// Expect implements blob.Identified.
func (s *Store) Expect(deployment uuid.UUID) { s.expected.Store(&deployment) }

func (s *Store) isOf(ctx context.Context, deployment uuid.UUID) error {
	got, err := s.ReadIdentity(ctx)
	switch {
	case errors.Is(err, blob.ErrMissing):
		return down(errIdentityGone, "examine the bucket")
	case err != nil:
		return err
	case got.Deployment != deployment:
		return down(fmt.Errorf("it is that of deployment %s, not of %s", got.Deployment, deployment), "examine the bucket")
	}
	return nil
}

var errIdentityGone = errors.New("its object " + identityKey + " is gone, and so may be everything")
