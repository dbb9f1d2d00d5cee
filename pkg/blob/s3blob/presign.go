package s3blob

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/berth-registry/berth/pkg/blob"
)

// Presign implements blob.Presigner. The URL names the endpoint as this process
// knows it.
func (s *Store) Presign(ctx context.Context, k blob.Key, life time.Duration) (string, error) {
	req, err := s.presigner.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(k.String())},
		s3.WithPresignExpires(life))
	if err != nil {
		return "", down(err, "sign a URL")
	}
	return req.URL, nil
}
