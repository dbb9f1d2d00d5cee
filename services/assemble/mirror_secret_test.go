package assemble_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/tools/testserver"
)

// spans is an OTLP receiver that keeps what it gets as text.
type spans struct {
	collector.UnimplementedTraceServiceServer
	mu   sync.Mutex
	text strings.Builder
}

func (s *spans) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.WriteString(req.String())
	return &collector.ExportTraceServiceResponse{}, nil
}

func (s *spans) serve(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	served := make(chan error)
	go func() { served <- server.Serve(socket) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + socket.Addr().String()
}

// startWatched is a process that speaks TLS by a wildcard certificate, and whose log, spans
// and metrics are looked at.
func startWatched(t *testing.T, seed string, to *spans) (*world, *journal) {
	t.Helper()
	authority, certs := testserver.NewAuthority(t), t.TempDir()
	authority.Issue(t, certs, "all", "*.reg.example", "acme.reg.example")
	c := seeded(t, boot.Default(), seed)
	c.DataDir, c.OperatorToken, c.TLSCerts = filepath.Join(t.TempDir(), "data"), boot.NewSecret(secret), certs
	c.BaseDomain, c.LogLevel, c.OTELEndpoint = "reg.example", "debug", to.serve(t)
	j := &journal{}
	log, err := boot.NewLogger(j, c)
	if err != nil {
		t.Fatal(err)
	}
	n, err := launchLogging(log, onFreePorts(edited(t, c, []edit{chained})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(t) })
	w := newWorld(t, n.at("data_addr"), n)
	w.client.Transport.(*http.Transport).TLSClientConfig = authority.Client(t, "", "")
	return w, j
}

// byTLS is a repository at a host of startWatched.
func (w *world) byTLS(host, name string) repository {
	r := w.mirrored(host, name)
	r.base = strings.Replace(r.base, "http://", "https://", 1)
	return r
}

// TestV63_V64_TheNameIsNowhere looks for it in logs, spans, metrics, bodies and events,
// whatever came of the requests. Hosts that ended, or are for other networks, look unknown.
func TestV63_V64_TheNameIsNowhere(t *testing.T) {
	up, img := mirrorUpstream(t)
	traced := &spans{}
	w, log := startWatched(t, mirrorSeed(up), traced)
	good := w.mirrorHost(t, "engines", map[string]any{"upstream": "hub", "networks": []string{"127.0.0.0/8"}})
	other := w.mirrorHost(t, "elsewhere", map[string]any{"upstream": "hub", "networks": []string{"192.0.2.0/24"}})
	short := w.mirrorHost(t, "short", map[string]any{"upstream": "hub", "ttl": "1s"})
	label, _, _ := strings.Cut(good, ".")
	app := w.byTLS(good, "library/app")
	app.wantImage(t, "1", img)
	w.byTLS(strings.ToUpper(label)+".reg.example", "library/app").wantImage(t, "1", img)

	soon(t, "the short one to end", func() bool { return w.byTLS(short, "x").get(t, "/v2/").status == http.StatusNotFound })
	unknown := w.byTLS("unknown.reg.example", "library/app").get(t, "/v2/").want(t, http.StatusNotFound)
	bodies := string(unknown.body)
	typo, last := label[:len(label)-1], "a"
	if label[len(typo):] == last {
		last = "b"
	}
	for _, host := range []string{other, short, typo + last + ".reg.example", typo + ".reg.example", label + "a.reg.example", typo + "1.reg.example"} {
		r := w.byTLS(host, "library/app")
		for _, path := range []string{"/v2/", r.at("manifests/1"), "/token"} {
			r.get(t, path).want(t, http.StatusNotFound).wantBody(t, unknown.body)
		}
	}
	if _, err := w.byTLS(label+".evil.example", "x").try(request{method: http.MethodGet, target: "/v2/"}); err == nil { // a failed handshake
		t.Error("a certificate is for another domain")
	}
	main := w.byTLS("acme.reg.example", "library/app")
	for _, a := range []answer{
		app.get(t, app.at("tags/list")), app.get(t, app.at("manifests/none")), app.get(t, app.at("manifests/1?ns=%s", good)),
		app.send(t, request{method: http.MethodPut, target: app.at("manifests/1")}), app.get(t, "/v2/proxy/"+good+"/x/manifests/1"),
		app.get(t, "/nothing/"+label), main.get(t, main.at("manifests/1?ns=%s", good)),
		w.admin(t, http.MethodGet, "/v1/tenants/acme/mirrorHosts", nil), w.admin(t, http.MethodGet, "/v1/tenants/acme/mirrorHosts/engines", nil),
	} {
		bodies += string(a.body) + fmt.Sprint(a.header)
	}
	res, err := http.Get("http://" + w.nodes[0].at("ops_addr") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}

	w.nodes[0].stop(t)
	w.restart(t) // which writes uses and sends spans
	events := string(w.admin(t, http.MethodGet, "/v1/tenants/acme/events?page_size=1000", nil).want(t, http.StatusOK).body)
	for what, text := range map[string]string{"log": log.String(), "spans": traced.text.String(), "metrics": string(metrics), "bodies": bodies, "events": events} {
		lower := strings.ToLower(text)
		for _, host := range []string{good, other, short} {
			secret, _, _ := strings.Cut(host, ".")
			if at := strings.Index(lower, secret[2:26]); at >= 0 {
				t.Errorf("the %s have the name: %s", what, lower[max(0, at-300):min(len(lower), at+100)])
			}
		}
		if what == "log" || what == "spans" {
			if !strings.Contains(text, "m-redacted.reg.example") || !strings.Contains(text, "mirrorHosts/engines") || !strings.Contains(text, "elsewhere") {
				t.Errorf("the %s do not say which mirror host was used", what)
			}
		}
	}
	for _, verb := range []string{"mirrorHost.create", "mirrorHost.first_use", "mirrorHost.use"} { // row V68
		if !strings.Contains(events, `"`+verb+`"`) {
			t.Errorf("no event %s in %s", verb, events)
		}
	}
}
