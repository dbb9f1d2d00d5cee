package s3blob

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

const (
	// maxAttempts is how often a request is tried (fault R28).
	maxAttempts = 4

	// maxSends is how many pieces all uploads send at a time: each takes a
	// connection, its buffers and, where there is TLS, its handshake.
	maxSends = 64

	// maxIdleConnections are kept for the next requests.
	maxIdleConnections = maxSends
)

// newClient makes the client. Bytes are guarded by the CRC32C that goes with
// each request, which the store compares, so they are not hashed once more for
// the signature.
func newClient(ctx context.Context, a address, options Options) (*s3.Client, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = maxIdleConnections
	})
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport))
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = guard{client: transport, stall: options.Stall, patience: options.Patience, observe: options.Observe}
		o.Region = cmp.Or(a.region, o.Region, "us-east-1")
		o.UsePathStyle = a.pathStyle
		if a.endpoint != "" {
			o.BaseEndpoint = aws.String(a.endpoint)
		}
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts, r.MaxBackoff = maxAttempts, options.Backoff
			// Attempts are bounded for each request; a budget that all requests
			// share would let a bad minute fail requests that come after it.
			r.RateLimiter = ratelimit.None
		})
		// Each request sets the checksums that it needs: some stores refuse
		// those that the client would add.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}), nil
}

// newPresigner signs for the endpoint by which clients reach the store: its name
// is part of what is signed.
func newPresigner(client *s3.Client, a address) *s3.PresignClient {
	return s3.NewPresignClient(client, s3.WithPresignClientFromClientOptions(func(o *s3.Options) {
		if a.public != "" {
			o.BaseEndpoint = aws.String(a.public)
		}
	}))
}

// isCode says whether err is a response of the store with one of the codes.
func isCode(err error, codes ...string) bool {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return false
	}
	for _, c := range codes {
		if answer.ErrorCode() == c {
			return true
		}
	}
	return false
}

// isAbsent says whether err is the answer that the object does not exist. The
// answer to HEAD has no body and hence no code of its own.
func isAbsent(err error) bool { return isCode(err, "NoSuchKey", "NotFound") }

// isNoUpload says whether err is the answer that there is no multipart
// upload: it was aborted, or became an object.
func isNoUpload(err error) bool { return isCode(err, "NoSuchUpload") }

// statusOf is the HTTP status of an answer; 0 when there was none.
func statusOf(err error) int {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}
