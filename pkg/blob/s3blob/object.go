package s3blob

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/pause"
)

// object is what the store says of one.
type object struct {
	size int64
	etag string // "" = not asked yet
	sum  string // "" = the store has none
}

// Stat returns the object's size in bytes (see blob.Opener).
func (s *Store) Stat(ctx context.Context, k blob.Key) (int64, error) {
	o, err := s.find(ctx, k, readLags)
	return o.size, err
}

// Ping implements blob.Pinger: it asks for the bucket, since an object that is
// missing is looked for again and again, or for the identity that is expected
// there.
func (s *Store) Ping(ctx context.Context) error {
	if expected := s.expected.Load(); expected != nil {
		return s.isOf(ctx, *expected)
	}
	if _, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket}); err != nil {
		return down(err, "examine the bucket")
	}
	return nil
}

// find asks for an object, and again after each of lags while it is not there.
func (s *Store) find(ctx context.Context, k blob.Key, lags []time.Duration) (object, error) {
	for {
		o, err := s.head(ctx, k)
		switch {
		case err == nil:
			return o, nil
		case !isAbsent(err):
			return object{}, down(err, "examine an object")
		case len(lags) == 0:
			return object{}, s.absent(ctx, "examine an object")
		}
		if err := pause.For(ctx, lags[0]); err != nil {
			return object{}, down(err, "examine an object")
		}
		lags = lags[1:]
	}
}

func (s *Store) head(ctx context.Context, k blob.Key) (object, error) {
	h, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.bucket, Key: aws.String(k.String()), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return object{}, err
	}
	return object{size: aws.ToInt64(h.ContentLength), etag: aws.ToString(h.ETag), sum: aws.ToString(h.ChecksumCRC32C)}, nil
}

// absent is the error for a missing object. It is ErrMissing only if the bucket
// exists and is the deployment's, since ErrMissing is final.
func (s *Store) absent(ctx context.Context, doing string) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	return missing(doing)
}
