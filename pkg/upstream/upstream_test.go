package upstream

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/ocihttp"
)

// loopback lets tests have servers.
var loopback = []Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}

// patient are limits that a busy machine does not reach.
func patient() limits {
	l := defaultLimits()
	l.dial, l.tls = 20*time.Second, 20*time.Second
	return l
}

// impatient are limits that tests can wait for.
func impatient() limits {
	l := defaultLimits()
	l.answer, l.token = 1500*time.Millisecond, 1500*time.Millisecond
	l.window, l.windowBytes = 300*time.Millisecond, 2<<10
	return l
}

// serve starts an upstream that says that it is a registry, and returns a client of it.
func serve(t *testing.T, l limits, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return clientOf(t, newClients(Options{Allow: loopback}, l), Config{Target: Target{URL: s.URL}})
}

func clientOf(t *testing.T, cs *Clients, cfg Config) *Client {
	t.Helper()
	cfg.Tenant, cfg.Upstream = "acme", "up"
	c, err := cs.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is an internet in the process: what answers at which origin. It stands
// where the guarded transport does, and sees all that leaves.
type world struct {
	mu    sync.Mutex
	hosts map[string]http.HandlerFunc // by "https://host:port"
	seen  []*http.Request
}

func newWorld() (*world, *Clients) {
	w := &world{hosts: map[string]http.HandlerFunc{}}
	cs := newClients(Options{}, patient())
	cs.transport, cs.led = w, w
	return w, cs
}

// inMemory is a client of an upstream without sockets, for tests whose clock is that
// of testing/synctest.
func inMemory(t *testing.T, l limits, h http.HandlerFunc) *Client {
	t.Helper()
	w := &world{hosts: map[string]http.HandlerFunc{origin: h}}
	cs := newClients(Options{}, l)
	cs.transport, cs.led = w, w
	return clientOf(t, cs, Config{Target: Target{URL: origin}})
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.seen = append(w.seen, r)
	h := w.hosts[r.URL.Scheme+"://"+r.URL.Host]
	w.mu.Unlock()
	if h == nil {
		return nil, fmt.Errorf("nothing is at %s", r.URL.Host)
	}
	rec := httptest.NewRecorder()
	h(rec, r)
	resp := rec.Result()
	resp.Request, resp.Body = r, ended{resp.Body, r.Context()}
	if r.Method == http.MethodHead {
		resp.Body = http.NoBody
	}
	return resp, nil
}

// ended is a body that ends with its request, as from a connection.
type ended struct {
	io.ReadCloser
	request context.Context
}

func (b ended) Read(p []byte) (int, error) {
	if b.request.Err() != nil {
		return 0, context.Cause(b.request)
	}
	return b.ReadCloser.Read(p)
}

func (w *world) requests() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*http.Request(nil), w.seen...)
}

// image is a manifest that parses.
func image() []byte {
	return ocitest.Manifest(ocitest.Empty()).Bytes
}

func sendImage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", oci.MediaTypeImageManifest)
	w.Header().Set("Docker-Content-Digest", oci.DigestOf(oci.SHA256, image()).String())
	_, _ = w.Write(image())
}

var latest = oci.Reference{Tag: "latest"}

// wantOutage checks that err is one, and that users learn nothing from it but
// the upstream's name.
func wantOutage(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := err.(*Error) //nolint:errorlint // this package returns it as it is
	if !ok || e.Outcome != Outage {
		t.Fatalf("not an outage: %v", err)
	}
	if !strings.HasPrefix(e.Message, `upstream "up" `) || strings.Contains(e.Message, "127.0.0") {
		t.Errorf("the message is %q", e.Message)
	}
	return e
}

func TestClients_SameConfigSameClient(t *testing.T) {
	cs := New(Options{})
	cfg := Config{Key: "1/2/3", Tenant: "acme", Upstream: "ghcr", Target: Target{URL: "https://ghcr.io"}, AuthHosts: []string{"a.example"}}
	first, err := cs.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := cs.Client(cfg); again != first {
		t.Error("the same config has another client")
	}
	changed := cfg
	changed.Password = "new"
	second, _ := cs.Client(changed)
	if second == first {
		t.Error("another password has the same client, and with it the old tokens")
	}
	if again, _ := cs.Client(changed); again != second {
		t.Error("the changed config has no client that lasts")
	}
	_, err = cs.Client(Config{Target: Target{URL: "ftp://ghcr.io"}})
	if fault.KindOf(err) != fault.Invalid || fault.From(err).Field != "url" {
		t.Errorf("a URL that can never be used: %v", err)
	}
}

func TestConfig_PrintsNoCredential(t *testing.T) {
	cfg := Config{Tenant: "acme", Upstream: "ghcr", Target: Target{URL: "https://ghcr.io", Username: "bob-the-user", Password: "hunter2"}}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "upstream", cfg)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "upstream", cfg)
	fmt.Fprintf(&out, "%v %+v %s", cfg, cfg, cfg)
	if s := out.String(); strings.Contains(s, "hunter2") || strings.Contains(s, "bob-the-user") || !strings.Contains(s, "acme/ghcr") {
		t.Error(s)
	}
}

// TestE12_HopsAreCountedAndBounded: a loop through public names ends.
func TestE12_HopsAreCountedAndBounded(t *testing.T) {
	var sent []string
	c := serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get(ocihttp.HeaderHops))
		sendImage(w, r)
	})
	for n := range 7 {
		_, err := c.Manifest(WithHops(t.Context(), n), "a/b", latest)
		if n < ocihttp.MaxHops {
			if err != nil {
				t.Errorf("%d hops: %v", n, err)
			}
			continue
		}
		if e := wantOutage(t, err); e.Fault().Kind != fault.BadUpstream {
			t.Errorf("%d hops: %v", n, e.Fault())
		}
	}
	if got := strings.Join(sent, " "); got != "1 2 3 4 5" {
		t.Errorf("sent %s", got)
	}
	if s := c.Status(); s.State != "closed" || !s.FailedAt.IsZero() {
		t.Errorf("a redirect loop counts against the upstream: %+v", s)
	}
}

// TestE12_ALoopEnds: the upstream of a registry is, by way of the internet, the
// registry itself.
func TestE12_ALoopEnds(t *testing.T) {
	asked := 0
	var c *Client
	c = serve(t, patient(), func(w http.ResponseWriter, r *http.Request) {
		asked++
		if _, err := c.Manifest(WithHops(r.Context(), ocihttp.ParseHops(r.Header)), "a/b", latest); err != nil {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	_, err := c.Manifest(t.Context(), "a/b", latest)
	wantOutage(t, err)
	if asked != ocihttp.MaxHops {
		t.Errorf("%d requests", asked)
	}
}

func readAndClose(t *testing.T, b *Body) ([]byte, error) {
	t.Helper()
	content, err := io.ReadAll(b)
	if cerr := b.Close(); cerr != nil {
		t.Error(cerr)
	}
	return content, err
}

func TestOptions_Patience(t *testing.T) {
	stalls := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(stalls.Close)
	c := clientOf(t, New(Options{Allow: loopback, Patience: 50 * time.Millisecond}), Config{Target: Target{URL: stalls.URL}})
	_, err := c.Manifest(t.Context(), "library/app", oci.Reference{Tag: "1"})
	if got := fault.KindOf(err); got != fault.UpstreamTimeout {
		t.Errorf("an upstream that stalls: %v, of kind %v", err, got)
	}
}
