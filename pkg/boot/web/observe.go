package web

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

// HeaderRequestID has the request's id in the response. An id from a client is
// ignored: it could forge another request's log lines.
const HeaderRequestID = "X-Request-Id"

// unknownRoute is the route of a request that no handler named.
const unknownRoute = "other"

type observer struct {
	Middleware
	refusals RefusalSampler
	next     http.Handler
}

func (o observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := &CountingWriter{ResponseWriter: w}
	req := &request{id: rand.Text(), route: unknownRoute, scheme: o.Scheme, agent: r.UserAgent(), out: out}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := o.Tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(start))
	ctx = context.WithValue(ctx, requestKey{}, req)
	ctx = logs.With(ctx, slog.String("request_id", req.id))
	w.Header().Set(HeaderRequestID, req.id)

	r = r.WithContext(ctx)
	in := &countingBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = in
	}
	o.Metrics.inFlight.WithLabelValues(o.Listener).Inc()
	// Deferred, since http.ErrAbortHandler passes through here as a panic.
	defer func() {
		took := time.Since(start)
		status := out.Status
		if status == 0 {
			status = http.StatusOK // net/http sends it for a handler that wrote nothing
		}
		if req.left {
			status = StatusClientLeft
		}
		o.Metrics.inFlight.WithLabelValues(o.Listener).Dec()
		o.Metrics.observe(o.Listener, r.Method, req.route, status, took, in.n, out.Sent)
		if status >= http.StatusBadRequest {
			req.complete(status)
			o.Metrics.refused(o.Listener, req.route, status, req.refusal.Code)
		}
		if req.badCall != "" {
			o.Metrics.calls.WithLabelValues(req.badCall).Inc()
		}
		if req.login != "" {
			o.Metrics.LoginFailed(o.Listener, req.login)
		}
		endSpan(span, r, req, status)
		o.log(ctx, r, req, status, took, in.n, out.Sent)
	}()
	o.next.ServeHTTP(out, r)
}

// endSpan names the span by method and route, as OpenTelemetry's conventions
// for HTTP servers say. What a client sent is valid UTF-8 there: with one span
// that is not, OTLP loses all that are sent together with it.
func endSpan(span trace.Span, r *http.Request, req *request, status int) {
	if span.IsRecording() {
		span.SetName(methodLabel(r.Method) + " " + req.route)
		span.SetAttributes(
			attribute.String("http.request.method", methodLabel(r.Method)),
			attribute.String("http.route", req.route),
			attribute.Int("http.response.status_code", status),
			attribute.String("server.address", logs.Clip(strings.ToValidUTF8(r.Host, "\uFFFD"))),
			attribute.String("url.path", logs.Clip(r.URL.EscapedPath())),
			attribute.String("berth.request_id", req.id),
		)
		for _, a := range req.attrs {
			span.SetAttributes(attribute.String("berth."+a.Key, logs.Clip(a.Value.String())))
		}
		if req.principal != "" {
			span.SetAttributes(attribute.String("berth.principal", req.principal))
		}
		if status >= http.StatusBadRequest {
			span.SetAttributes(attribute.String("berth.code", req.refusal.Code), attribute.String("berth.reason", req.refusal.Reason))
		}
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
	}
	span.End()
}

// log writes the access line. The query is left out: it may carry a token.
func (o observer) log(ctx context.Context, r *http.Request, req *request, status int, took time.Duration, in, out int64) {
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !o.Log.Enabled(ctx, level) || !o.refusals.May(req.client, status) {
		return
	}
	attrs := make([]slog.Attr, 0, lineAttrs+len(req.attrs))
	attrs = append(
		attrs,
		slog.String("method", r.Method),
		slog.String("host", r.Host),
		slog.String("path", r.URL.Path),
		slog.Int("status", status),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
		slog.Int64("received", in),
		slog.Int64("sent", out),
		slog.Any("client", req.client),
		slog.String("user_agent", r.UserAgent()),
	)
	attrs = append(attrs, req.attrs...)
	if req.principal != "" {
		attrs = append(attrs, slog.String("principal", req.principal))
	}
	if status >= http.StatusBadRequest {
		attrs = req.refusal.log(attrs)
	}
	o.Log.LogAttrs(ctx, level, "request", attrs...)
}

// lineAttrs is the most attributes of an access line besides its notes.
const lineAttrs = 15

// CountingWriter records the status and counts the bytes of the body. It keeps all
// features of the wrapped writer: sendfile by ReadFrom, http.ResponseController by
// Unwrap.
type CountingWriter struct {
	http.ResponseWriter
	Status int   // 0 = none yet
	Sent   int64 // bytes of the body
}

// WriteHeader implements http.ResponseWriter.
func (w *CountingWriter) WriteHeader(status int) {
	// 1xx responses precede the final one.
	if w.Status == 0 && status >= http.StatusOK {
		w.Status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *CountingWriter) Write(p []byte) (int, error) {
	w.implicitOK()
	n, err := w.ResponseWriter.Write(p)
	w.Sent += int64(n)
	return n, err
}

// ReadFrom passes the source on, so that a file is sent by sendfile.
func (w *CountingWriter) ReadFrom(src io.Reader) (int64, error) {
	w.implicitOK()
	n, err := readFrom(w.ResponseWriter, src)
	w.Sent += n
	return n, err
}

func (w *CountingWriter) implicitOK() {
	if w.Status == 0 {
		w.Status = http.StatusOK
	}
}

// Unwrap is for http.ResponseController.
func (w *CountingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// readFrom copies src into w by w's own ReadFrom, if it has one. io.Copy would
// first try src's WriteTo, which for a file is only a detour.
func readFrom(w http.ResponseWriter, src io.Reader) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok {
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// countingBody counts the bytes of a request.
type countingBody struct {
	io.ReadCloser
	n int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}
