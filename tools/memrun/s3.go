package main

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"

	"github.com/berth-registry/berth/tools/testserver"
)

// The servers that -s3 names.
const (
	versitygw = "versitygw"
	discard   = "discard"
)

// startS3 starts an S3 server with an empty bucket, whose URL it returns; stop ends
// it. Its credentials are set in the environment.
func startS3(which string) (string, func(), error) {
	switch which {
	case versitygw:
		blobs, err := testserver.NewS3()
		return blobs, testserver.Stop, err
	case discard:
		s := httptest.NewServer(newDiscarding())
		err := errors.Join(os.Setenv("AWS_ACCESS_KEY_ID", "berth"), os.Setenv("AWS_SECRET_ACCESS_KEY", "berth-memrun"))
		return "s3://blobs?path_style=true&region=us-east-1&endpoint=" + url.QueryEscape(s.URL), s.Close, err
	default:
		return "", func() {}, fmt.Errorf("-s3 is %s or %s", versitygw, discard)
	}
}
