package s3blob

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/berth-registry/berth/pkg/blob"
)

// Presign implements blob.Presigner. What the store answers with is part of what
// is signed: no browser takes the object for a page, and nothing between keeps
// it for longer than the URL lives.
func (s *Store) Presign(ctx context.Context, k blob.Key, life time.Duration) (string, error) {
	if life <= 0 || life > blob.MaxPresignLife {
		return "", fmt.Errorf("s3blob: sign a URL for %s: it may live for %s at most", life, blob.MaxPresignLife)
	}
	req, err := s.presigner.PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket, Key: aws.String(k.String()),
		ResponseContentType:        aws.String(mediaType),
		ResponseContentDisposition: aws.String("attachment"),
		ResponseCacheControl:       aws.String("private, no-store"),
	}, s3.WithPresignExpires(life))
	if err != nil {
		return "", down(err, "sign a URL")
	}
	return req.URL, nil
}
