package kit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-kit/kit/endpoint"
	kithttp "github.com/go-kit/kit/transport/http"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/berth-registry/berth/pkg/fault"
)

type greet struct{ Name string }

func hello(_ context.Context, r greet) (string, error) {
	if r.Name == "" {
		return "", fault.New(fault.Invalid, fault.RequestInvalid, "no name")
	}
	return "hello " + r.Name, nil
}

func TestWrapRunsMiddlewaresOutermostFirst(t *testing.T) {
	var order []string
	note := func(who string) Middleware {
		return func(op string) endpoint.Middleware {
			return func(next endpoint.Endpoint) endpoint.Endpoint {
				return func(ctx context.Context, req any) (any, error) {
					order = append(order, who+" "+op)
					return next(ctx, req)
				}
			}
		}
	}
	got, err := Wrap("Hello", hello, note("outer"), note("inner")).Call(t.Context(), greet{"Ann"})
	if err != nil || got != "hello Ann" {
		t.Fatalf("Call = %q, %v", got, err)
	}
	if want := []string{"outer Hello", "inner Hello"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if got, err := Wrap("Hello", hello).Call(t.Context(), greet{}); !fault.Is(err, fault.RequestInvalid) || got != "" {
		t.Errorf("Call without a name = %q, %v", got, err)
	}
}

func TestAccessRefusesAnOperationWithoutARuleAtStart(t *testing.T) {
	access := Access(map[string]bool{"Hello": true}, func(_ context.Context, open bool, _ any) error {
		if !open {
			return fault.New(fault.Denied, fault.DeniedReason, "no")
		}
		return nil
	})
	Wrap("Hello", hello, access)
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, `"Bye"`) {
			t.Errorf("panic %q does not name the operation", p)
		}
	}()
	Wrap("Bye", hello, access)
	t.Error("an operation without a rule was built")
}

func TestAccessDecidesBeforeTheOperation(t *testing.T) {
	ran := false
	op := Wrap("Hello", func(context.Context, greet) (string, error) { ran = true; return "", nil },
		Access(map[string]string{"Hello": "Bob"}, func(_ context.Context, who string, req any) error {
			if req.(greet).Name != who {
				return fault.New(fault.Denied, fault.DeniedReason, "no")
			}
			return nil
		}))
	if _, err := op.Call(t.Context(), greet{"Ann"}); fault.KindOf(err) != fault.Denied || ran {
		t.Errorf("err %v, ran %v", err, ran)
	}
	if _, err := op.Call(t.Context(), greet{"Bob"}); err != nil || !ran {
		t.Errorf("err %v, ran %v", err, ran)
	}
}

func TestMetricsByOperationAndOutcome(t *testing.T) {
	reg := prometheus.NewRegistry()
	op := Wrap("Hello", hello, Metrics(reg))
	for _, name := range []string{"a", "", "b"} {
		_, _ = op.Call(t.Context(), greet{name})
	}
	var got []string
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		got = append(got, fmt.Sprint(m.GetLabel()[0].GetValue(), m.GetLabel()[1].GetValue(), m.GetHistogram().GetSampleCount()))
	}
	if want := []string{"Helloinvalid1", "Hellook2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if name := families[0].GetName(); name != "berth_operation_seconds" {
		t.Errorf("family %q", name)
	}
}

func TestTracingMarksOnlyOurFailures(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracing := Tracing(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	fail := func(context.Context, greet) (string, error) { return "", errors.New("broken") }
	_, _ = Wrap("Hello", hello, tracing).Call(t.Context(), greet{})
	_, _ = Wrap("Fail", fail, tracing).Call(t.Context(), greet{})
	ended := spans.Ended()
	if len(ended) != 2 || ended[0].Name() != "Hello" || ended[1].Name() != "Fail" {
		t.Fatalf("spans %v", ended)
	}
	if c := ended[0].Status().Code; c != codes.Unset {
		t.Errorf("a refusal has status %v", c)
	}
	if c := ended[1].Status().Code; c != codes.Error {
		t.Errorf("a failure has status %v", c)
	}
}

// A call that its client left is cancelled, and no failure; one that ran out of our time,
// or was cancelled within, is one.
func TestS18_ACancelledCallIsNoFailure(t *testing.T) {
	spans, reg := tracetest.NewSpanRecorder(), prometheus.NewRegistry()
	tracing := Tracing(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	metrics := Metrics(reg)
	left, leave := context.WithCancel(t.Context())
	leave()
	fail := func(err error) func(context.Context, greet) (string, error) {
		return func(context.Context, greet) (string, error) { return "", err }
	}
	down := fault.Down(context.Canceled, "the database")
	for _, c := range []struct {
		ctx     context.Context
		op      string
		err     error
		outcome string
		failure bool
	}{
		{left, "Left", context.Canceled, "cancelled", false},
		{left, "LeftWhileDown", down, "cancelled", false},
		{left, "Broken", errors.New("broken"), "internal", true},
		{t.Context(), "Within", down, "unavailable", true},
		{t.Context(), "Late", context.DeadlineExceeded, "unavailable", true},
	} {
		_, _ = Wrap(c.op, fail(c.err), tracing, metrics).Call(c.ctx, greet{})
		ended := spans.Ended()
		if code := ended[len(ended)-1].Status().Code; (code == codes.Error) != c.failure {
			t.Errorf("%s: status %v", c.op, code)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, m := range families[0].GetMetric() {
			found = found || m.GetLabel()[0].GetValue() == c.op && m.GetLabel()[1].GetValue() == c.outcome
		}
		if !found {
			t.Errorf("%s is not counted as %s", c.op, c.outcome)
		}
	}
}

// errorsTo answers errors as the services do, by one function.
func errorsTo(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("X-Path", r.URL.Path)
	w.WriteHeader(http.StatusTeapot)
	_, _ = io.WriteString(w, "ERROR BODY "+string(fault.From(err).Reason))
}

func decodeName(_ context.Context, r *http.Request) (greet, error) {
	if r.URL.Query().Has("bad") {
		return greet{}, fault.New(fault.Invalid, fault.NameInvalid, "bad")
	}
	return greet{r.URL.Query().Get("name")}, nil
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestHandlerWritesErrorsInOnePlace(t *testing.T) {
	h := Handler(Wrap("Hello", hello), decodeName, func(_ context.Context, w http.ResponseWriter, s string) error {
		_, err := io.WriteString(w, s)
		return err
	}, Errors(errorsTo))
	s := serve(t, h)
	for query, want := range map[string]string{
		"/p?name=Ann": "200  hello Ann",
		"/p?bad":      "418 /p ERROR BODY NAME_INVALID",
		"/p":          "418 /p ERROR BODY REQUEST_INVALID",
	} {
		resp, err := http.Get(s.URL + query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("X-Path"), body); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// go-kit's Server writes an error body when the encoder fails, even behind the
// first bytes of a stream. This is the trap that Stream exists for: without it
// the client would get 200, half a body and an error text, cleanly ended.
func TestStreamAbortsInsteadOfAppendingAnErrorBody(t *testing.T) {
	open := Wrap("Open", func(context.Context, greet) (io.Reader, error) {
		return io.MultiReader(strings.NewReader("first"), failing{}), nil
	})
	log := slog.New(slog.DiscardHandler)
	streamed := func(ctx context.Context, w http.ResponseWriter, src io.Reader) error {
		Stream(ctx, log, func() error { _, err := io.Copy(w, src); return err })
		return nil
	}
	s := serve(t, Handler(open, decodeName, streamed, Errors(errorsTo)))
	resp, err := http.Get(s.URL)
	if err == nil {
		body, readErr := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if readErr == nil || strings.Contains(string(body), "ERROR BODY") {
			t.Errorf("the client took %q for a whole answer", body)
		}
	}

	returned := func(_ context.Context, w http.ResponseWriter, src io.Reader) error {
		_, err := io.Copy(w, src)
		return err
	}
	rec := httptest.NewRecorder()
	Handler(open, decodeName, returned, Errors(errorsTo)).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if got := rec.Body.String(); got != "firstERROR BODY INTERNAL" {
		t.Errorf("go-kit no longer behaves as Stream assumes: %q", got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// shrunk promises more bytes than it has, as a truncated object does.
type shrunk struct{ *strings.Reader }

func (s shrunk) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return s.Size() + 10, nil
	}
	return s.Reader.Seek(offset, whence)
}

func TestServeContentAbortsWhenTheContentIsShort(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, content := range map[string]io.ReadSeeker{"whole": strings.NewReader("12345"), "short": shrunk{strings.NewReader("12345")}} {
		h := Handler(Wrap("Open", func(context.Context, greet) (io.ReadSeeker, error) { return content, nil }), decodeName,
			func(ctx context.Context, w http.ResponseWriter, c io.ReadSeeker) error {
				w.Header().Set("Content-Type", "application/octet-stream")
				ServeContent(ctx, log, w, c)
				return nil
			}, Errors(errorsTo))
		rec := httptest.NewRecorder()
		aborted := false
		func() {
			defer func() { aborted = recover() == http.ErrAbortHandler }() //nolint:errorlint // net/http compares by identity
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		}()
		if aborted != (name == "short") {
			t.Errorf("%s: aborted %v, body %q", name, aborted, rec.Body)
		}
	}
}

// readerFrom is a connection that says how the body came.
type readerFrom struct {
	http.ResponseWriter
	reads int // calls of ReadFrom
	files int // those that got a file
}

func (w *readerFrom) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	w.reads++
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			w.files++
		}
	}
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
}

// A file must reach the connection as a file, and http.ResponseController must
// find it, through all that Handler puts in between.
func TestServeContentKeepsReadFromAndUnwrap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rec := httptest.NewRecorder()
	conn := &readerFrom{ResponseWriter: rec}
	h := Handler(Wrap("Open", func(context.Context, greet) (*os.File, error) { return f, nil }), decodeName,
		func(ctx context.Context, w http.ResponseWriter, c *os.File) error {
			w.Header().Set("Content-Type", "application/octet-stream")
			ServeContent(ctx, slog.New(slog.DiscardHandler), w, c)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			return nil
		}, Errors(errorsTo))
	h.ServeHTTP(conn, httptest.NewRequest("GET", "/", nil))
	if conn.files != 1 || rec.Body.String() != "0123456789" {
		t.Errorf("the connection saw %d files, body %q", conn.files, rec.Body)
	}
	if !rec.Flushed {
		t.Error("http.ResponseController did not reach the connection")
	}
}

// ServerFinalizer is why package web counts bytes and not go-kit: its writer
// cuts http.ResponseController off.
func TestServerFinalizerHidesTheConnection(t *testing.T) {
	conn := &readerFrom{ResponseWriter: httptest.NewRecorder()}
	var err error
	h := Handler(Wrap("Hello", hello), decodeName, func(_ context.Context, w http.ResponseWriter, _ string) error {
		err = http.NewResponseController(w).Flush()
		return nil
	}, kithttp.ServerFinalizer(func(context.Context, int, *http.Request) {}))
	h.ServeHTTP(conn, httptest.NewRequest("GET", "/?name=Ann", nil))
	if !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("go-kit no longer hides the connection: %v", err)
	}
}

func TestServeBytesIsOneWrite(t *testing.T) {
	conn := &readerFrom{ResponseWriter: httptest.NewRecorder()}
	h := Handler(Wrap("Hello", hello), decodeName, func(ctx context.Context, w http.ResponseWriter, s string) error {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "text/plain")
		ServeBytes(ctx, w, []byte(s))
		return nil
	}, Errors(errorsTo))
	h.ServeHTTP(conn, httptest.NewRequest("GET", "/?name=Ann", nil))
	rec := conn.ResponseWriter.(*httptest.ResponseRecorder)
	if rec.Body.String() != "hello Ann" || conn.reads != 0 {
		t.Errorf("body %q by %d calls of ReadFrom", rec.Body, conn.reads)
	}
	r := httptest.NewRequest("GET", "/?name=Ann", nil)
	r.Header.Set("If-None-Match", `"v1"`)
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", rec.Code)
	}
}
