package s3blob

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// List lists the bucket (see blob.Lister). A multipart upload in progress is
// listed too, as an object of 0 bytes: it takes room, and Delete removes it.
func (s *Store) List(ctx context.Context, fn func(blob.Stored) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return down(err, "list the objects")
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if key == probeKey || key == identityKey {
				continue
			}
			if err := fn(stored(key, aws.ToInt64(o.Size), aws.ToTime(o.LastModified))); err != nil {
				return err
			}
		}
	}
	return s.listUploads(ctx, "", func(u upload) error { return fn(stored(u.key, 0, u.started)) })
}

// stored describes what lies under a key.
func stored(key string, size int64, changed time.Time) blob.Stored {
	o := blob.Stored{Size: size, Changed: changed}
	if k, ok := keyOf(key); ok {
		o.Key = k
	} else {
		o.Foreign = key
	}
	return o
}

// keyOf is the inverse of blob.Key.String; false for any other key.
func keyOf(s string) (blob.Key, bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return blob.Key{}, false
	}
	tenant, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return blob.Key{}, false
	}
	id, err := uuid.Parse(parts[2])
	if err != nil {
		return blob.Key{}, false
	}
	k := blob.Key{Tenant: tenant, Incarnation: id}
	return k, k.String() == s
}

// upload is a multipart upload in progress.
type upload struct {
	key     string
	id      string
	started time.Time
}

// listUploads calls fn for every multipart upload whose key begins with prefix,
// until it fails. Its error is fn's, or Unavailable.
func (s *Store) listUploads(ctx context.Context, prefix string, fn func(upload) error) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &s.bucket}
	if prefix != "" {
		in.Prefix = &prefix
	}
	pages := s3.NewListMultipartUploadsPaginator(s.client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return down(err, "list the multipart uploads")
		}
		for _, u := range page.Uploads {
			if err := fn(upload{aws.ToString(u.Key), aws.ToString(u.UploadId), aws.ToTime(u.Initiated)}); err != nil {
				return err
			}
		}
	}
	return nil
}
