package fetch_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/services/proxy/fetch"
	"github.com/berth-registry/berth/tools/testserver"
)

// s3Part is the least that S3 takes.
const s3Part = 5 << 20

// TestR55_FetchToS3: a bucket takes its parts while they arrive.
func TestR55_FetchToS3(t *testing.T) {
	w := newWorld(t)
	bucket, err := s3blob.Open(t.Context(), testserver.S3(t), s3blob.Options{PartBytes: s3Part, Backoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			t.Error(err)
		}
	})
	f := w.node(func(c *fetch.Config) { c.Blobs = bucket })
	contents := [][]byte{nil, bytesOf(1), bytesOf(s3Part), bytesOf(2*s3Part + 17)}
	for _, content := range contents {
		s := newFed(int64(len(content)))
		go func() {
			for rest := content; len(rest) > 0; {
				n := min(len(rest), 1_000_003)
				s.give(t, rest[:n])
				rest = rest[n:]
			}
			s.feed.Close()
		}()
		mustRead(t, f, w.target(content), s.source, content)
	}
	broken := bytesOf(2*s3Part + 18)
	s := newFed(int64(len(broken)))
	go func() {
		s.give(t, broken[:s3Part+100])
		s.feed.CloseWithError(errDown)
	}()
	if _, err := read(t.Context(), f, w.target(broken), s.source); err == nil {
		t.Error("a blob of which some bytes never came was read")
	}
	w.settle(f)
	for _, content := range contents {
		b, err := w.Meta.FindBlob(t.Context(), w.repo, w.target(content).Digest)
		if err != nil {
			t.Fatal(err)
		}
		c, err := bucket.Open(t.Context(), b.Key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes in the bucket, not %d: %v", len(got), len(content), err)
		}
		c.Close()
		w.held[b.Digest] = true
	}
	w.mustLack(broken)
}
