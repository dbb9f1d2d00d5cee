package testserver

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// S3Lose removes what a bucket of S3 holds below a key behind the server's back,
// as a store would that loses it; the empty key is all of it.
func S3Lose(t testing.TB, bucket, key string) {
	t.Helper()
	dir := S3Dir(t, bucket)
	if err := os.RemoveAll(filepath.Join(dir, key)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
}

// S3Dir is the directory in which the server keeps the objects of a bucket, each as a file of
// the name of its key.
func S3Dir(t testing.TB, bucket string) string {
	t.Helper()
	server, err := s3Server()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(server.dir, "data", u.Host)
}
