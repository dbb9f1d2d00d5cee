package s3blob

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// probeKey is written and deleted at start, by every process.
const probeKey = "berth-write-check"

// probe makes sure that the bucket is there and, if it is to be written to, takes
// objects. Its errors are for the operator.
func (s *Store) probe(ctx context.Context, a address, write bool) error {
	if _, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket}); err != nil {
		return refusal(a, err)
	}
	if !write {
		return nil
	}
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String(probeKey), Body: bytes.NewReader(nil), ContentLength: aws.Int64(0),
	})
	if err != nil {
		return fmt.Errorf("blobs: the %s cannot be written to: %w", a, err)
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: aws.String(probeKey)})
	if err != nil && !isAbsent(err) { // another process that starts may have deleted it
		return fmt.Errorf("blobs: nothing can be deleted from the %s: %w", a, err)
	}
	return nil
}

func refusal(a address, err error) error {
	switch statusOf(err) {
	case http.StatusNotFound:
		return fmt.Errorf("blobs: the %s does not exist; create it, or name another: %w", a, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("blobs: the %s refuses the credentials: %w", a, err)
	case http.StatusMovedPermanently:
		return fmt.Errorf("blobs: the %s is in another region; set region in the URL: %w", a, err)
	default:
		return fmt.Errorf("blobs: the %s cannot be reached: %w", a, err)
	}
}
