package s3blob

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/berth-registry/berth/pkg/blob"
)

// Delete removes the object and aborts its multipart uploads (see blob.Deleter):
// the one that was recorded, and those that a crash left before they could be
// (fault R34). They go first: none of them can become the object again.
func (s *Store) Delete(ctx context.Context, k blob.Key, multipart string) error {
	key := k.String()
	if multipart != "" {
		if err := s.abort(ctx, key, multipart); err != nil {
			return err
		}
	}
	err := s.listUploads(ctx, key, func(u upload) error {
		if u.key != key || u.id == multipart {
			return nil
		}
		return s.abort(ctx, key, u.id)
	})
	if err != nil {
		return err
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil && !isAbsent(err) {
		return down(err, "delete an object")
	}
	return nil
}

// abort ends a multipart upload; one that is gone is success.
func (s *Store) abort(ctx context.Context, key, id string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.bucket, Key: aws.String(key), UploadId: aws.String(id),
	})
	if err != nil && !isNoUpload(err) {
		return down(err, "abort a multipart upload")
	}
	return nil
}
