package front_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// deploymentKey is the internal_key of both processes.
const deploymentKey = "0123456789abcdef0123456789abcdef"

// hop is a process with a data port, before services that may be elsewhere.
type hop struct {
	*fronttest.Deployment
	open, private tenant.Site
	logged        *journal // of the other process
}

// newHop starts two processes: the front of one hands the calls for upload and
// token on to the internal listener of the other, which runs s.
func newHop(t *testing.T, s front.Services) hop {
	t.Helper()
	logged := &journal{}
	h := hopTo(t, listenInternal(t, deploymentKey, logged, s).URL, 0)
	h.logged = logged
	return h
}

// hopTo starts the first alone. It waits that long for each step of the other;
// zero means as long as in production.
func hopTo(t *testing.T, other string, patience time.Duration) hop {
	t.Helper()
	u, err := url.Parse(other)
	if err != nil {
		t.Fatal(err)
	}
	remote := front.Remote{Service: "other", URL: u, Calls: access.NewInternal(deploymentKey), Log: slog.New(slog.DiscardHandler)}.Within(patience)
	return serveHere(t, front.Services{Registry: says("registry"), Upload: remote.Handler(), Token: remote.Handler()})
}

// serveHere starts one process that runs s.
func serveHere(t *testing.T, s front.Services) hop {
	t.Helper()
	h := hop{Deployment: fronttest.New(t)}
	h.private = h.Tenant("acme", tenant.Settings{})
	h.open = h.Registry(h.private, "open", tenant.Settings{AnonymousPull: true, AnonymousPush: true})
	h.Account(h.private, "ci", access.Writer)
	h.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	h.Serve(s)
	return h
}

// noPolicies are those of tenants without access rules.
var noPolicies = access.NewPolicies(nil) // of tenants that never had a rule

// listenInternal is the internal listener of a process.
func listenInternal(t *testing.T, key string, logged *journal, s front.Services) *httptest.Server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(logged, nil))
	server := httptest.NewUnstartedServer(web.Middleware{
		Listener: "internal", Log: log, Tracer: noop.NewTracerProvider().Tracer(""), Metrics: web.NewMetrics(prometheus.NewRegistry()), Scheme: "http",
	}.Wrap(front.NewInternal(access.NewInternal(key), noPolicies, log, s, nil, nil, nil)))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// journal is a log that tests read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) contains(s string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), s)
}

// session is the path of some upload.
const session = "/v2/app/blobs/uploads/6ba7b810-9dad-11d1-80b4-00c04fd430c8"

// wantOutage fails the test unless the answer is 503 with Retry-After.
func wantOutage(t *testing.T, what string, got fronttest.Answer) {
	t.Helper()
	if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || got.Code() != "UNAVAILABLE" {
		t.Errorf("%s: %d, Retry-After %q, %s", what, got.Status, got.Header.Get("Retry-After"), got.Body)
	}
	if got.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("%s: challenged for a failure of Berth", what)
	}
}
