package conns_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/conns"
	"github.com/berth-registry/berth/pkg/boot/web"
)

// patience is how long a busy machine may take.
const patience = 20 * time.Second

// lot is more than the system holds for a client that reads nothing.
const lot = 16 << 20

// registry serves by TLS and HTTP/2 blobs, which are transfers, and manifests, which are not.
type registry struct {
	*testing.T
	pool  *conns.Pool
	addr  string
	trust *x509.CertPool

	asked          atomic.Int64 // requests that are no transfers
	large, running atomic.Int64
}

// serve makes one whose transfers may pause for that long, and nothing else for longer
// than a moment.
func serve(t *testing.T, pause time.Duration) *registry {
	t.Helper()
	g := &registry{T: t, pool: conns.NewSet(slog.New(slog.DiscardHandler), 1024).Pool(conns.Limits{Max: 10})}
	m := web.Middleware{
		Listener: "data", Scheme: "https", Metrics: web.NewMetrics(prometheus.NewRegistry()),
		Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""),
		Pace: web.Pace{Grace: 200 * time.Millisecond, Bound: 400 * time.Millisecond, Pause: pause, MinOut: 1 << 30},
	}
	s := httptest.NewUnstartedServer(nil)
	s.Config = web.NewServer(m.Wrap(http.HandlerFunc(g.answer)), slog.New(slog.DiscardHandler))
	s.Listener = g.pool.Listen(s.Listener, "data")
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	g.trust = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	g.addr = s.Listener.Addr().String()
	return g
}

func (g *registry) answer(w http.ResponseWriter, r *http.Request) {
	size := lot
	switch r.URL.Path {
	case "/blob":
		web.AllowPause(r.Context(), 1)
		size = 10
	case "/large-blob":
		web.AllowPause(r.Context(), 1)
		g.large.Add(1)
		defer g.large.Add(-1)
	default:
		g.running.Add(1)
		g.asked.Add(1)
		defer g.running.Add(-1)
	}
	_, _ = w.Write(make([]byte, size))
}

// attacker is a client that asks, and reads only what it says.
type attacker struct {
	*registry
	net.Conn
	*http2.Framer
	next  uint32
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (g *registry) attack() *attacker {
	g.Helper()
	raw, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { _ = raw.Close() })
	c := tls.Client(raw, &tls.Config{RootCAs: g.trust, ServerName: "example.com", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	a := &attacker{registry: g, Conn: raw, Framer: http2.NewFramer(c, c), next: 1}
	a.enc = hpack.NewEncoder(&a.block)
	_, err = io.WriteString(c, http2.ClientPreface)
	if err = errors.Join(err, a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}), a.WriteWindowUpdate(0, 1<<30)); err != nil {
		g.Fatal(err)
	}
	return a
}

func (a *attacker) get(path string) {
	a.Helper()
	a.block.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: a.addr}, {Name: ":path", Value: path},
	} {
		if err := a.enc.WriteField(f); err != nil {
			a.Fatal(err)
		}
	}
	if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: a.next, BlockFragment: a.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		a.Fatal(err)
	}
	a.next += 2
}

// first reads until bytes of a body came.
func (a *attacker) first() {
	a.Helper()
	for {
		f, err := a.ReadFrame()
		if err != nil {
			a.Fatal(err)
		}
		if _, ok := f.(*http2.DataFrame); ok {
			return
		}
	}
}

// take reads until an answer is whole.
func (a *attacker) take() {
	a.Helper()
	for {
		f, err := a.ReadFrame()
		if err != nil {
			a.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
			return
		}
	}
}

// A blob that was pulled makes its connection no safe place for what is not a transfer.
func TestS99_APulledBlobProtectsNothing(t *testing.T) {
	t.Parallel()
	g := serve(t, time.Hour)
	a := g.attack()
	a.get("/blob")
	a.take()
	for range 20 {
		a.get("/manifest")
	}
	await.True(g, patience, "all have begun", func() bool { return g.asked.Load() == 20 })
	await.True(g, patience, "they have ended", func() bool {
		g.pool.Reap(time.Now().Add(conns.NextRequest))
		return g.running.Load() == 0
	})
}

// Nor does one that pauses there. It is spared where nothing else wants to end.
func TestS99_APausedBlobProtectsOnlyItself(t *testing.T) {
	t.Parallel()
	g := serve(t, time.Hour)
	alone, crowded := g.attack(), g.attack()
	alone.get("/large-blob")
	crowded.get("/large-blob")
	await.True(g, patience, "all have begun", func() bool { return g.large.Load() == 2 })
	alone.first() // before that it is no transfer
	crowded.first()
	for range 20 {
		crowded.get("/manifest")
	}
	await.True(g, patience, "all have begun", func() bool { return g.asked.Load() == 20 })
	await.True(g, patience, "they have ended", func() bool {
		g.pool.Reap(time.Now().Add(conns.StuckTime))
		return g.running.Load() == 0 // of themselves before that, or with their connection
	})
	g.pool.Reap(time.Now().Add(conns.NextRequest))
	if g.large.Load() == 0 {
		t.Error("a transfer that may pause was ended")
	}
}

// A transfer that has paused for too long ends, though its connection takes nothing.
func TestS99_APauseThatIsOverEnds(t *testing.T) {
	t.Parallel()
	g := serve(t, 400*time.Millisecond)
	a := g.attack()
	a.get("/large-blob")
	await.True(g, patience, "all have begun", func() bool { return g.large.Load() == 1 })
	await.True(g, patience, "they have ended", func() bool {
		g.pool.Reap(time.Now().Add(conns.NextRequest))
		return g.large.Load() == 0
	})
}
