package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

// newMiddleware makes middleware whose log lines go to the buffer.
func newMiddleware(out io.Writer) (Middleware, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	return Middleware{
		Listener: "data", Scheme: "http", Metrics: NewMetrics(reg),
		Log:    slog.New(logs.NewHandler(slog.NewJSONHandler(out, nil))),
		Tracer: noop.NewTracerProvider().Tracer(""),
	}, reg
}

func TestAccessLine(t *testing.T) {
	var out bytes.Buffer
	m, _ := newMiddleware(&out)
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		AddLogAttrs(r.Context(), slog.String("tenant", "acme"))
		m.Log.InfoContext(r.Context(), "inside")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "12345")
	}))
	r := httptest.NewRequest(http.MethodPut, "/v2/a/manifests/1?token=secret", strings.NewReader("123"))
	r.Header.Set(HeaderRequestID, "forged")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)

	id := w.Header().Get(HeaderRequestID)
	if len(id) < 20 || id == "forged" {
		t.Errorf("request id %q", id)
	}
	inside, access, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(inside, `"request_id":"`+id+`"`) {
		t.Errorf("a line of the handler lacks the id: %s", inside)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(access), &line); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{
		"request_id": id, "method": "PUT", "path": "/v2/a/manifests/1", "status": 201.0, "received": 3.0, "sent": 5.0, "tenant": "acme", "client": "192.0.2.1",
	} {
		if line[k] != want {
			t.Errorf("%s = %v, want %v", k, line[k], want)
		}
	}
	if strings.Contains(access, "secret") {
		t.Errorf("the query is in %s", access)
	}
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	m, reg := newMiddleware(io.Discard)
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			SetRoute(r.Context(), "blob")
			fmt.Fprint(w, "12345")
		}
	}))
	for _, method := range []string{"GET", "GET", "EVIL1", "EVIL2"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/x", nil))
	}
	metrics := scrape(reg)
	if n := strings.Count(metrics, "http_server_request_duration_seconds_count{"); n != 2 {
		t.Errorf("%d series of two kinds of request", n)
	}
	for _, want := range []string{
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="blob",listener="data"} 2`,
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="200",http_route="other",listener="data"} 2`,
		`berth_http_sent_bytes_total{listener="data",route="blob"} 10`,
		`http_server_active_requests{listener="data"} 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("%s is not in\n%s", want, metrics)
		}
	}
}

// scrape returns what Prometheus would read.
func scrape(reg *prometheus.Registry) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestSpanContinuesTheClientsTrace(t *testing.T) {
	var out bytes.Buffer
	m, _ := newMiddleware(&out)
	spans := tracetest.NewInMemoryExporter()
	m.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("")
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(r.Context(), "manifest")
		AddLogAttrs(r.Context(), slog.String("tenant", "acme"))
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	r.Header.Set("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
	h.ServeHTTP(httptest.NewRecorder(), r)

	got := spans.GetSpans()
	if len(got) != 1 || got[0].Name != "GET manifest" || got[0].SpanContext.TraceID().String() != traceID || got[0].Status.Code.String() != "Error" {
		t.Fatalf("got %+v", got)
	}
	tenant := ""
	for _, a := range got[0].Attributes {
		if a.Key == "berth.tenant" {
			tenant = a.Value.AsString()
		}
	}
	if tenant != "acme" {
		t.Errorf("berth.tenant = %q", tenant)
	}
	if !strings.Contains(out.String(), `"trace_id":"`+traceID+`"`) {
		t.Errorf("the access line lacks the trace id: %s", &out)
	}
}

// A span that OTLP cannot carry takes the spans of other requests with it.
func TestF10_SpansAreValidUTF8(t *testing.T) {
	m, _ := newMiddleware(io.Discard)
	spans := tracetest.NewInMemoryExporter()
	m.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("")
	r := httptest.NewRequest(http.MethodGet, "/v2/%ff%0a%80/tags/list", nil)
	r.Method = "BR\xffEW"
	r.Host = "acme\xff.localhost"
	r.Header.Set("User-Agent", "\xff")
	m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(httptest.NewRecorder(), r)
	got := spans.GetSpans()
	if len(got) != 1 || len(got[0].Attributes) < 5 || !utf8.ValidString(got[0].Name) {
		t.Fatalf("got %+v", got)
	}
	for _, a := range got[0].Attributes {
		if !utf8.ValidString(a.Value.AsString()) {
			t.Errorf("%s = %q", a.Key, a.Value.AsString())
		}
	}
}

func TestPanicIsAnsweredOnce(t *testing.T) {
	var out bytes.Buffer
	m, reg := newMiddleware(&out)
	m.Fail = func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "our own words", http.StatusInternalServerError)
	}
	server := httptest.NewUnstartedServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			w.WriteHeader(http.StatusOK)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			panic("late")
		case "/abort":
			panic(http.ErrAbortHandler)
		default:
			panic("early")
		}
	})))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.Start()
	defer server.Close()

	resp, err := http.Get(server.URL + "/early")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 500 || string(body) != "our own words\n" {
		t.Errorf("early: %d %q %v", resp.StatusCode, body, err)
	}
	if resp, err := http.Get(server.URL + "/late"); err == nil {
		_, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Error("late: the client believes the answer to be whole")
		}
	}
	if resp, err := http.Get(server.URL + "/abort"); err == nil {
		resp.Body.Close()
		t.Error("abort: the connection was not cut")
	}
	server.Close() // waits for the handlers
	if metrics := scrape(reg); !strings.Contains(metrics, `berth_http_panics_total{listener="data"} 2`+"\n") {
		t.Errorf("not two panics are counted, an abort being none:\n%s", metrics)
	}
	if !strings.Contains(out.String(), "middleware_test.go") {
		t.Errorf("no stack is in the log: %s", &out)
	}
}

// fileConn sees what net/http hands to the connection. What TCPConn.ReadFrom
// gets as a file behind at most one LimitedReader, it sends by sendfile.
type fileConn struct {
	*net.TCPConn
	files *int64
}

func (c fileConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	if l, ok := r.(*io.LimitedReader); ok {
		if _, isFile := l.R.(*os.File); isFile {
			*c.files += n
		}
	}
	return n, err
}

type fileListener struct {
	net.Listener
	files int64
}

func (l *fileListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fileConn{c.(*net.TCPConn), &l.files}, nil
}

func TestSendfileSurvivesTheMiddleware(t *testing.T) {
	const size = 5*sendChunk + 123
	path := filepath.Join(t.TempDir(), "blob")
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ := newMiddleware(io.Discard)
	for name, h := range map[string]http.HandlerFunc{
		"io.Copy": func(w http.ResponseWriter, _ *http.Request) {
			file, err := os.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			w.Header().Set("Content-Length", fmt.Sprint(size))
			if _, err := io.CopyN(w, file, size); err != nil {
				t.Error(err)
			}
		},
		"http.ServeFile": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(m.Wrap(h))
			ln := &fileListener{Listener: server.Listener}
			server.Listener = ln
			server.Start()
			resp, err := http.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			server.Close()
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes came, error %v", len(got), err)
			}
			// net/http copies the first 512 bytes to look at them.
			if ln.files < size-512 {
				t.Errorf("%d of %d bytes went by sendfile", ln.files, size)
			}
		})
	}
}

func BenchmarkMiddleware(b *testing.B) {
	m, _ := newMiddleware(io.Discard)
	m.Log = slog.New(slog.DiscardHandler)
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
