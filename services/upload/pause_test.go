package upload_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/upload"
	"github.com/berth-registry/berth/tools/testserver"
)

// lenient is a pace at which what is not a transfer ends in half a second, and a
// transfer may pause for a long time; brief, for not much longer.
var (
	lenient = web.Pace{Grace: 300 * time.Millisecond, Bound: 600 * time.Millisecond, Pause: time.Minute}
	brief   = web.Pace{Grace: 300 * time.Millisecond, Bound: 600 * time.Millisecond, Pause: time.Second}
)

const (
	still    = 1200 * time.Millisecond
	patience = 500 * time.Millisecond // between split services, where something stands still
)

// shapes run the service in all ways in which it can be deployed.
var shapes = map[string]func(*testing.T, web.Pace) client{
	"file system": func(t *testing.T, p web.Pace) client {
		return serveAt(t, p, nil, func(_ *fronttest.Deployment, h http.Handler) http.Handler { return h })
	},
	"S3": func(t *testing.T, p web.Pace) client {
		s, err := s3blob.Open(t.Context(), testserver.S3(t), s3blob.Options{PartBytes: s3Part})
		if err != nil {
			t.Fatal(err)
		}
		c := serveAt(t, p, func(c *upload.Config) { c.Blobs = s }, func(_ *fronttest.Deployment, h http.Handler) http.Handler { return h })
		t.Cleanup(func() {
			c.Server.Close()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	},
	"split": func(t *testing.T, p web.Pace) client {
		return serveAt(t, p, nil, func(d *fronttest.Deployment, h http.Handler) http.Handler { return behindAHop(t, d, p, h) })
	},
}

func serveAt(t *testing.T, p web.Pace, wrap func(*upload.Config), shape func(*fronttest.Deployment, http.Handler) http.Handler) client {
	t.Helper()
	d := fronttest.New(t)
	d.Pace = p
	c := upload.Config{Meta: d.Meta, Blobs: d.Blobs}
	if wrap != nil {
		wrap(&c)
	}
	d.Serve(front.Services{Upload: shape(d, upload.NewHandler(upload.New(c), d.Middlewares()...))})
	return writerOf(t, d, "acme")
}

// behindAHop runs h in another process, as far as anyone can tell.
func behindAHop(t *testing.T, d *fronttest.Deployment, p web.Pace, h http.Handler) http.Handler {
	t.Helper()
	calls := access.NewInternal("0123456789abcdef0123456789abcdef")
	other := httptest.NewUnstartedServer(nil)
	other.Config = web.NewServer(web.Middleware{
		Listener: "internal", Log: d.Log, Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()),
		Scheme: "http", Pace: p,
	}.Wrap(front.NewInternal(calls, d.Policies, d.Log, front.Services{Upload: h}, nil, nil, nil)), slog.New(slog.DiscardHandler))
	other.Start()
	t.Cleanup(other.Close)
	u, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	return front.Remote{Service: "upload", URL: u, Calls: calls, Log: d.Log, StepTimeout: patience}.Handler()
}

// begin announces a body, and returns the connection to send it by.
func (c client) begin(method, path string, length int) (net.Conn, *bufio.Reader) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.Server.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", method, path, c.site.Host, c.auth, length)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func (c client) answered(in *bufio.Reader, status int, code string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if a := (fronttest.Answer{Body: string(body)}); resp.StatusCode != status || a.Code() != code || err != nil {
		c.t.Errorf("%d %s %v, want %d %s", resp.StatusCode, body, err, status, code)
	}
	return resp
}

// eachShape runs a test in all shapes at once: they wait.
func eachShape(t *testing.T, p web.Pace, test func(*testing.T, client)) {
	t.Parallel()
	for name, start := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, p)
			test(t, c)
		})
	}
}

// An upload may pause between two of its bytes, and before the first of a
// request where the session holds bytes already.
func TestQ1_UploadPauses(t *testing.T) {
	eachShape(t, lenient, func(_ *testing.T, c client) {
		want := ocitest.Noise(3<<20, 81)
		path := c.start("")
		conn, in := c.begin(http.MethodPatch, path, 2<<20)
		for at := 0; at < 2<<20; at += 1 << 20 {
			if _, err := conn.Write(want[at : at+1<<20]); err != nil {
				c.t.Fatal(err)
			}
			<-time.After(still)
		}
		c.answered(in, http.StatusAccepted, "")
		d := sha256Of(want)
		conn, in = c.begin(http.MethodPut, path+"?digest="+d.String(), 1<<20)
		<-time.After(still)
		if _, err := conn.Write(want[2<<20:]); err != nil {
			c.t.Fatal(err)
		}
		c.answered(in, http.StatusCreated, "")

		other := ocitest.Noise(1<<20, 82)
		d = sha256Of(other)
		conn, in = c.begin(http.MethodPost, c.uploads("?digest="+d.String()), len(other))
		_, _ = conn.Write(other[:100])
		<-time.After(still)
		_, _ = conn.Write(other[100:])
		c.answered(in, http.StatusCreated, "")
	})
}

// What is cut is kept: the answer is 408, and the client continues from there.
func TestQ4_CutUploadKeepsItsOffset(t *testing.T) {
	eachShape(t, brief, func(_ *testing.T, c client) {
		want := ocitest.Noise(2<<20, 83)
		path, half := c.start(""), len(want)/2
		conn, in := c.begin(http.MethodPatch, path, len(want))
		if _, err := conn.Write(want[:half]); err != nil {
			c.t.Fatal(err)
		}
		resp := c.answered(in, http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID")
		if got, want := resp.Header.Get("Range"), fmt.Sprintf("0-%d", half-1); got != "" && got != want {
			c.t.Errorf("Range %q, want %q", got, want)
		}
		if !resp.Close {
			c.t.Error("the connection is kept")
		}
		await.True(c.t, 20*time.Second, "what arrived is recorded", func() bool { return c.session(path).Stage.Offset == int64(half) })
		c.mustStored(c.put(path, sha256Of(want), want[half:]), sha256Of(want))
	})
}

// A session that holds nothing has the short bound, and so has a caller who may
// not push, who is refused at once.
func TestQ5_FirstByteComesSoon(t *testing.T) {
	eachShape(t, lenient, func(_ *testing.T, c client) {
		for method, path := range map[string]string{
			http.MethodPatch: c.start(""),
			http.MethodPut:   c.start("") + "?digest=" + sha256Of([]byte("x")).String(),
			http.MethodPost:  c.uploads("?digest=" + sha256Of([]byte("x")).String()),
		} {
			began := time.Now()
			_, in := c.begin(method, path, 1000)
			c.answered(in, http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID")
			if took := time.Since(began); took > 5*time.Second {
				c.t.Errorf("%s was ended after %s", method, took)
			}
		}
	})
}

// A body that flows has no bound, also where nothing was there before it.
func TestS17_FlowingBodyHasNoBound(t *testing.T) {
	eachShape(t, lenient, func(_ *testing.T, c client) {
		want := ocitest.Noise(100_000, 84)
		d := sha256Of(want)
		conn, in := c.begin(http.MethodPost, c.uploads("?digest="+d.String()), len(want))
		for piece := range slices.Chunk(want, len(want)/20) { // for twice the bound
			if _, err := conn.Write(piece); err != nil {
				c.t.Fatal(err)
			}
			<-time.After(lenient.Bound / 10)
		}
		c.answered(in, http.StatusCreated, "")
	})
}
