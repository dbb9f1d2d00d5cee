package inflight_test

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/oci"
)

// BenchmarkStream_ReadWhileWritten is how fast a blob comes through, written in
// the pieces that net/http reads.
func BenchmarkStream_ReadWhileWritten(b *testing.B) {
	const size, piece = 64 << 20, 32 << 10
	content := bytesOf(size)
	digest := oci.DigestOf(oci.SHA256, content)
	dir := b.TempDir()
	for _, readers := range []int{0, 1, 8} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				s, err := inflight.New(inflight.Options{Digest: digest, Size: size, Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				var all sync.WaitGroup
				for range readers {
					r := s.Open(b.Context())
					all.Go(func() {
						defer r.Close()
						if n, err := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{r}, make([]byte, piece)); n != size || err != nil {
							b.Errorf("%d, %v", n, err)
						}
					})
				}
				for at := 0; at < size; at += piece {
					write(b, s, content[at:at+piece])
				}
				finish(b, s)
				all.Wait()
				s.Release()
			}
		})
	}
}

// They hide what lets io.CopyBuffer do without its buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
