package upload_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/upload"
	"github.com/berth-registry/berth/tools/testserver"
)

// s3Part is the least that S3 takes.
const s3Part = 5 << 20

// onS3 is the service with its blobs in S3.
func onS3(t *testing.T) (client, blob.Store) { return onS3At(t, testserver.S3(t)) }

func onS3At(t *testing.T, address string) (client, blob.Store) {
	s, err := s3blob.Open(t.Context(), address, s3blob.Options{PartBytes: s3Part, Backoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c := serve(t, func(cfg *upload.Config) { cfg.Blobs = s })
	t.Cleanup(func() {
		c.Server.Close() // its uploads end before their store does
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

// mustHoldOn expects the blob to be in the store, byte for byte.
func (c client) mustHoldOn(s blob.Opener, d oci.Digest, content []byte) {
	c.t.Helper()
	b, err := c.Meta.FindBlob(c.t.Context(), c.repo(), d)
	if err != nil {
		c.t.Fatal(err)
	}
	o, err := s.Open(context.WithoutCancel(c.t.Context()), b.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, content) || b.Size != int64(len(content)) {
		c.t.Fatalf("blob has %d bytes, row says %d, %v; want %d, equal", len(got), b.Size, err, len(content))
	}
}

// The sizes are those around which S3 stores differently.
var s3Sizes = []int{0, 1, s3Part - 1, s3Part, s3Part + 1, 2*s3Part + 17}

func TestR55_PushToS3(t *testing.T) {
	c, s := onS3(t)
	for i, size := range s3Sizes {
		want := ocitest.Noise(size, uint64(50+i))
		path := c.start("")
		for at := 0; at < size; at += size/3 + 1 {
			expect(t, c.patch(path, at, want[at:min(at+size/3+1, size)]), http.StatusAccepted, "")
			c.mustOffset(path, min(at+size/3+1, size))
		}
		d := sha256Of(want)
		c.mustStored(c.put(path, d, nil), d)
		c.mustHoldOn(s, d, want)

		other := ocitest.Noise(size+1, uint64(80+i)) // in one request
		d = sha256Of(other)
		c.mustStored(c.send(http.MethodPost, c.uploads("?digest="+d.String()), string(other)), d)
		c.mustHoldOn(s, d, other)
	}
}

// A store that refuses every write is an outage at each step of a push, and when
// it is over the push continues from what the session says.
func TestR28_StoreSlowsDown(t *testing.T) {
	var sick atomic.Bool
	address, _ := testserver.S3Behind(t, func(pass http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !sick.Load() || r.Method == http.MethodHead {
				pass.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code></Error>")
		})
	})
	c, s := onS3At(t, address)
	down := func(what string, a fronttest.Answer) {
		t.Helper()
		if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s, want 503 with Retry-After", what, a.Status, a.Header, a.Body)
		}
	}
	for i, size := range []int{100, s3Part + 100} {
		want := ocitest.Noise(size, uint64(28+i))
		d := sha256Of(want)
		path := c.start("")
		sick.Store(true)
		down("PATCH", c.patch(path, 0, want[:size/2]))
		sick.Store(false)
		expect(t, c.patch(path, 0, want[:size-50]), http.StatusAccepted, "")
		sick.Store(true)
		down("PUT with the last bytes", c.put(path, d, want[size-50:]))
		c.mustLack(d)
		sick.Store(false)
		c.mustOffset(path, size-50)
		expect(t, c.patch(path, size-50, want[size-50:]), http.StatusAccepted, "")
		sick.Store(true)
		down("PUT", c.put(path, d, nil))
		c.mustLack(d)
		sick.Store(false)
		c.mustStored(c.put(path, d, nil), d)
		c.mustHoldOn(s, d, want)
	}
}

// A digest whose algorithm was not declared is compared by reading the staged
// bytes back, which S3 gives only of what is not a multipart upload any more. A
// wrong one keeps the session.
func TestPushToS3WithAnUndeclaredAlgorithm(t *testing.T) {
	c, s := onS3(t)
	for i, size := range s3Sizes[1:] {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c.t = t
			want := ocitest.Noise(size, uint64(60+i))
			d := oci.DigestOf(oci.SHA512, want)
			path := c.start("")
			expect(t, c.patch(path, 0, want[:size/2+1]), http.StatusAccepted, "")
			expect(t, c.put(path, oci.DigestOf(oci.SHA512, nil), want[size/2+1:]), http.StatusBadRequest, "DIGEST_INVALID")
			c.mustStored(c.put(path, d, nil), d)
			c.mustHoldOn(s, d, want)
		})
	}
}

// After that the session takes more bytes, too.
func TestReadBackSessionOnS3GoesOn(t *testing.T) {
	c, s := onS3(t)
	want := ocitest.Noise(2*s3Part+5, 70)
	path := c.start("")
	for _, cut := range [][2]int{{0, s3Part + 5}, {s3Part + 5, 2 * s3Part}} {
		expect(t, c.patch(path, cut[0], want[cut[0]:cut[1]]), http.StatusAccepted, "")
		expect(t, c.put(path, oci.DigestOf(oci.SHA512, nil), nil), http.StatusBadRequest, "DIGEST_INVALID")
	}
	d := sha256Of(want)
	c.mustStored(c.put(path, d, want[2*s3Part:]), d)
	c.mustHoldOn(s, d, want)
}

// A session whose staged tail is lost says so, also when it is read back.
func TestLostSessionOnS3IsUnknown(t *testing.T) {
	c, s := onS3(t)
	path := c.start("")
	expect(t, c.patch(path, 0, []byte("lost")), http.StatusAccepted, "")
	st := c.session(path).Stage
	if err := s.Delete(t.Context(), blob.Key{Tenant: st.Key.Tenant, Incarnation: st.Tail.Incarnation}, ""); err != nil {
		t.Fatal(err)
	}
	expect(t, c.patch(path, 4, []byte("more")), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	expect(t, c.put(path, oci.DigestOf(oci.SHA512, []byte("lost")), nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	expect(t, c.put(path, sha256Of([]byte("lost")), nil), http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	c.mustLack(sha256Of([]byte("lost")))
}
