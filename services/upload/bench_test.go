package upload_test

import (
	"bytes"
	"net/http"
	"strconv"
	"testing"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// BenchmarkPush pushes as Docker does: POST, PATCH of a streamed body, PUT. The
// client and the server share the machine, and each push is of a known blob.
func BenchmarkPush(b *testing.B) {
	for _, size := range []int{1 << 20, 128 << 20} {
		b.Run(strconv.Itoa(size>>20)+"MiB", func(b *testing.B) {
			c := serve(b, nil)
			want := ocitest.Noise(size, 1)
			d := sha256Of(want)
			b.SetBytes(int64(size))
			for b.Loop() {
				path := c.start("")
				a, err := c.stream(http.MethodPatch, path, bytes.NewReader(want))
				if err != nil || a.Status != http.StatusAccepted {
					b.Fatal(a, err)
				}
				c.mustStored(c.put(path, d, nil), d)
			}
		})
	}
}
