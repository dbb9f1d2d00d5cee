package registry_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/registry"
)

// lenient is a pace at which what is not a transfer ends in two seconds.
var lenient = web.Pace{Grace: time.Second, Bound: 2 * time.Second, Pause: time.Minute, MinOut: 256 << 10}

const still = 3 * time.Second

// readers are the shapes in which a blob is read.
var readers = map[string]func(*testing.T) (*bench, func([]byte) oci.Digest){
	"file system": func(t *testing.T) (*bench, func([]byte) oci.Digest) {
		return paced(t, func(_ *fronttest.Deployment, h http.Handler) http.Handler { return h })
	},
	"split": func(t *testing.T) (*bench, func([]byte) oci.Digest) { return paced(t, behindAHop(t)) },
	"S3": func(t *testing.T) (*bench, func([]byte) oci.Digest) {
		o := startOnS3At(t, tenant.Settings{}, lenient)
		return o.bench, func(content []byte) oci.Digest {
			b, _ := o.put("app", content)
			return b.Digest
		}
	},
}

func paced(t *testing.T, shape func(*fronttest.Deployment, http.Handler) http.Handler) (*bench, func([]byte) oci.Digest) {
	t.Helper()
	d := fronttest.New(t)
	d.Pace = lenient
	svc := registry.New(registry.Config{Meta: d.Meta, Blobs: d.Blobs, Log: d.Log})
	h := registry.NewHandler(svc, front.NotConfigured("proxy", "proxy_url"), d.Middlewares()...)
	d.Serve(front.Services{Registry: shape(d, h)})
	b := &bench{Deployment: d, t: t, site: d.Tenant("acme", tenant.Settings{})}
	d.Account(b.site, "admin", access.Admin)
	return b, func(content []byte) oci.Digest { return d.PutBlob(b.repo("app"), content).Digest }
}

// behindAHop runs the service in another process, as far as anyone can tell.
func behindAHop(t *testing.T) func(*fronttest.Deployment, http.Handler) http.Handler {
	return func(d *fronttest.Deployment, h http.Handler) http.Handler {
		calls := access.NewInternal("0123456789abcdef0123456789abcdef")
		other := httptest.NewUnstartedServer(nil)
		other.Config = web.NewServer(web.Middleware{
			Listener: "internal", Log: d.Log, Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()),
			Scheme: "http", Pace: lenient,
		}.Wrap(front.NewInternal(calls, d.Policies, d.Log, front.Services{Registry: h}, nil, nil, nil)), slog.New(slog.DiscardHandler))
		other.Start()
		t.Cleanup(other.Close)
		u, err := url.Parse(other.URL)
		if err != nil {
			t.Fatal(err)
		}
		return front.Remote{Service: "registry", URL: u, Calls: calls, Log: d.Log, StepTimeout: 2 * time.Second}.Handler()
	}
}

// open asks for a blob and reads nothing of it yet.
func (b *bench) open(d oci.Digest) *http.Response {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.Server.Listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+b.site.Host+"/v2/app/blobs/"+d.String(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.SetBasicAuth("admin", fronttest.Secret("admin"))
	if err := r.Write(conn); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4<<10), r)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%v, %v", resp, err)
	}
	return resp
}

// A client that reads a blob may stand still, wherever the bytes come from.
func TestQ2_DownloadPauses(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 48<<20/16) // more than all buffers on the way
	for name, start := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, put := start(t)
			resp := b.open(put(content))
			var got bytes.Buffer
			for range 3 {
				<-time.After(still)
				if _, err := io.CopyN(&got, resp.Body, 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.Copy(&got, resp.Body); err != nil || !bytes.Equal(got.Bytes(), content) {
				t.Errorf("%d bytes of %d, %v", got.Len(), len(content), err)
			}
		})
	}
}

// One that reads steadily, but slowly, is never cut.
func TestQ3_SteadyDownload(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 16<<20/16)
	for name, start := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, put := start(t)
			resp := b.open(put(content))
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			var got bytes.Buffer
			for got.Len() < len(content) {
				<-tick.C
				if _, err := io.CopyN(&got, resp.Body, 32<<10); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(got.Len(), err)
				}
			}
			if !bytes.Equal(got.Bytes(), content) {
				t.Error("the bytes are wrong")
			}
		})
	}
}

// A manifest whose body stops has no more time than any other request.
func TestQ5_ManifestBodyEnds(t *testing.T) {
	t.Parallel()
	b, _ := readers["file system"](t)
	conn, err := net.Dial("tcp", b.Server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.SetBasicAuth("admin", fronttest.Secret("admin"))
	fmt.Fprintf(conn, "PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Length: 1000\r\n\r\n{", b.site.Host, r.Header.Get("Authorization"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection stays: %v", err)
	}
}
