package fetch_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// BenchmarkCold reads a blob that is not here yet, from an upstream over HTTP:
// directly, and through a fetch, which stores it. That is waited for outside of
// the measured time. first-ms is the time to the first byte.
func BenchmarkCold(b *testing.B) {
	for _, size := range []int{held / 2, 1 << 20, 64 << 20} {
		content := bytesOf(size)
		hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}))
		b.Cleanup(hub.Close)
		get := func(ctx context.Context, _ int64) (fetch.Part, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, hub.URL, nil)
			if err != nil {
				return fetch.Part{}, err
			}
			resp, err := hub.Client().Do(req)
			if err != nil {
				return fetch.Part{}, err
			}
			return fetch.Part{Body: resp.Body, Size: resp.ContentLength}, nil
		}
		name := strconv.Itoa(size>>10) + "KiB"
		b.Run("direct/"+name, func(b *testing.B) {
			measure(b, size, func() (io.ReadCloser, error) {
				part, err := get(b.Context(), 0)
				return part.Body, err
			}, func() {})
		})
		b.Run("fetch/"+name, func(b *testing.B) {
			w := newWorld(b)
			f := w.node(nil)
			target, n := w.target(content), 0
			measure(b, size, func() (io.ReadCloser, error) {
				n++
				target.Repo.Name = "library/app" + strconv.Itoa(n)
				return f.Open(b.Context(), target, get)
			}, func() {
				await.True(b, 20*time.Second, "it is stored", func() bool {
					_, err := w.Meta.FindBlob(b.Context(), target.Repo, target.Digest)
					return err == nil
				})
			})
		})
	}
}

// measure reads whole blobs.
func measure(b *testing.B, size int, open func() (io.ReadCloser, error), settle func()) {
	b.Helper()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var first time.Duration
	for b.Loop() {
		began := time.Now()
		body, err := open()
		if err != nil {
			b.Fatal(err)
		}
		one := make([]byte, 1)
		if _, err := io.ReadFull(body, one); err != nil {
			b.Fatal(err)
		}
		first += time.Since(began)
		n, err := io.Copy(io.Discard, body)
		if err != nil || n != int64(size)-1 {
			b.Fatalf("%d of %d bytes, %v", n+1, size, err)
		}
		body.Close()
		b.StopTimer()
		settle()
		b.StartTimer()
	}
	b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "first-ms")
}
