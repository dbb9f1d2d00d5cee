package registry_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/registry"
)

// fileConn counts the bytes that the kernel may send by itself: those of a
// source that net turns into sendfile, an io.LimitedReader over a file.
type fileConn struct {
	*net.TCPConn
	fromFile *atomic.Int64
}

func (c fileConn) ReadFrom(src io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(src)
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(syscall.Conn); ok {
			c.fromFile.Add(n)
		}
	}
	return n, err
}

type fileListener struct {
	net.Listener
	fromFile atomic.Int64
}

func (l *fileListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fileConn{c.(*net.TCPConn), &l.fromFile}, nil
}

func TestBlobsLeaveBySendfileThroughAllMiddleware(t *testing.T) {
	d := fronttest.New(t)
	svc := registry.New(registry.Config{Meta: d.Meta, Blobs: d.Blobs, Log: d.Log})
	h := d.Handler(front.Services{Registry: registry.NewHandler(svc, front.NotConfigured("proxy", "proxy_url"), d.Middlewares()...)})
	b := &bench{Deployment: d, t: t, site: d.Tenant("acme", tenant.Settings{})}
	d.Account(b.site, "admin", access.Admin)
	content := bytes.Repeat([]byte("0123456789abcdef"), 5<<16)
	path := "/v2/app/blobs/" + b.PutBlob(b.repo("app"), content).Digest.String()
	for _, c := range []struct {
		header []string
		want   []byte
	}{
		{nil, content},
		{[]string{"Range", "bytes=100000-2999999"}, content[100000:3000000]},
	} {
		d.Server = httptest.NewUnstartedServer(h)
		l := &fileListener{Listener: d.Server.Listener}
		d.Server.Listener = l
		d.Server.Start()
		got := b.do("GET", path, c.header...)
		d.Server.Close() // waits for the handler, which counts after the client has all
		if got.Body != string(c.want) {
			t.Fatalf("%v: %d, %d bytes", c.header, got.Status, len(got.Body))
		}
		// net/http writes the first 512 bytes with the header when it has to guess
		// the type; the type is set here, but the rest is what matters.
		if n := l.fromFile.Load(); n < int64(len(c.want))-512 {
			t.Errorf("%v: %d of %d bytes went from the file to the socket", c.header, n, len(c.want))
		}
	}
}

// pull reads a path as a token's bearer and drops the body.
func pull(ctx context.Context, b *bench, client *http.Client, token, path string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.Server.URL+path, nil)
	if err != nil {
		return 0, err
	}
	r.Host = b.site.Host
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, io.ErrUnexpectedEOF
	}
	return io.Copy(io.Discard, resp.Body)
}

// BenchmarkManifestGetByTag is 64 clients that pull one manifest by tag, over
// loopback, client included.
func BenchmarkManifestGetByTag(b *testing.B) {
	s := start(b, tenant.Settings{})
	s.pushed("/v2/app/manifests/latest", s.image("app", "layer"))
	token := s.Token(s.site, access.ServiceAccount(s.site.Tenant, 0, "admin", access.Admin), access.Repository("app", access.Pull))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := pull(b.Context(), s, client, token, "/v2/app/manifests/latest"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkManifestGetByTagServer is the same without sockets: what the server
// itself costs per request.
func BenchmarkManifestGetByTagServer(b *testing.B) {
	s := start(b, tenant.Settings{})
	s.pushed("/v2/app/manifests/latest", s.image("app", "layer"))
	token := s.Token(s.site, access.ServiceAccount(s.site.Tenant, 0, "admin", access.Admin), access.Repository("app", access.Pull))
	h := s.Server.Config.Handler
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r := httptest.NewRequest(http.MethodGet, "/v2/app/manifests/latest", nil)
			r.Host = s.site.Host
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Error(w.Code)
				return
			}
		}
	})
}

func BenchmarkBlobPull(b *testing.B) {
	for name, size := range map[string]int{"1MiB": 1 << 20, "256MiB": 256 << 20} {
		b.Run(name, func(b *testing.B) {
			s := start(b, tenant.Settings{})
			blob := s.PutBlob(s.repo("app"), bytes.Repeat([]byte("0123456789abcdef"), size/16))
			token := s.Token(s.site, access.ServiceAccount(s.site.Tenant, 0, "admin", access.Admin), access.Repository("app", access.Pull))
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			b.SetBytes(int64(size))
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if n, err := pull(b.Context(), s, client, token, "/v2/app/blobs/"+blob.Digest.String()); err != nil || n != int64(size) {
						b.Error(n, err)
						return
					}
				}
			})
		})
	}
}
