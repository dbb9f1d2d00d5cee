// Package web is the middleware between a listener and the handlers of Berth:
// request ids, access log, metrics, spans, trusted proxies, recovery from panics
// and limits for slow clients.
//
// No wrapper here hides http.ResponseController or io.ReaderFrom, so that a blob in
// a file is still sent by sendfile.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"

	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

// Middleware is everything between one listener and its handler. Log, Tracer
// and Metrics are needed; the rest may be zero.
type Middleware struct {
	Listener string // the listener's name, a label of every metric
	Log      *slog.Logger
	Tracer   trace.Tracer
	Metrics  *Metrics
	Scheme   string         // of this listener: http or https
	Proxies  []netip.Prefix // networks whose forwarded headers are trusted
	Peers    bool           // all clients are processes of this deployment, which sign their requests
	Pace     Pace
	Pauses   *Pauses // of the process; nil: the listener has its own

	// Fail writes the response if a handler panicked before it had written one.
	Fail func(w http.ResponseWriter, r *http.Request)
}

// Wrap puts it before h. The wrappers, outermost first:
//
//	observe   id, span, metrics, access log; sees what all others did
//	proxies   the client's address and scheme, from trusted peers only
//	transport what the answer says of the connection
//	pace      an end to waiting for a client
//	recover   a panic becomes a log line and an answer
func (m Middleware) Wrap(h http.Handler) http.Handler {
	h = recoverer{m, h}
	if m.Pauses == nil {
		m.Pauses = NewPauses(PauseLimits{}, nil)
	}
	h = pacer{m.Pace.orDefault(), m.Pauses, h}
	h = transport{m.Peers, h}
	h = forwarded{m.Proxies, h}
	return observer{m, NewRefusalSampler(m.Listener, m.Log), h}
}

// stayEncrypted makes browsers use only TLS with a host for a year. It excludes
// subdomains, which may not have TLS.
const stayEncrypted = "max-age=31536000"

// transport says in the answer what follows from how the request came.
type transport struct {
	peers bool
	next  http.Handler
}

func (t transport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if Scheme(r.Context()) == "https" {
		w.Header().Set("Strict-Transport-Security", stayEncrypted)
	}
	if !t.peers && endsConnection(r) {
		w.Header().Set("Connection", "close")
	}
	t.next.ServeHTTP(w, r)
}

// endsConnection says whether nothing more may be read from the connection after the
// request, since a proxy in front may see its end elsewhere (contract rows A5 and S8,
// RFC 9112 section 6.1). With Transfer-Encoding net/http drops Content-Length without a
// word, and in HTTP/1.0 Transfer-Encoding, so that which had both cannot be told: all
// that had the one, or are of that version, end it. A connection is cheap where clients
// do so: with TLS they speak HTTP/2, which has neither.
func endsConnection(r *http.Request) bool {
	return r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0)
}

type recoverer struct {
	Middleware
	next http.Handler
}

// ServeHTTP recovers from a panic of the handler. If the response had begun
// already, it closes the connection, so that the client sees that the response is
// incomplete.
func (c recoverer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(http.ErrAbortHandler)
		}
		c.Metrics.panics.WithLabelValues(c.Listener).Inc()
		c.Log.ErrorContext(r.Context(), "panic", "value", p, "stack", string(debug.Stack()))
		if requestOf(r.Context()).out.Status != 0 {
			panic(http.ErrAbortHandler)
		}
		if c.Fail == nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		c.Fail(w, r)
	}()
	c.next.ServeHTTP(w, r)
}

// RefusalSampler bounds the log lines about refusals and failures of one address.
type RefusalSampler struct{ lines *logs.Sampler[netip.Prefix] }

// NewRefusalSampler makes a RefusalSampler for a listener.
func NewRefusalSampler(listener string, log *slog.Logger) RefusalSampler {
	return RefusalSampler{logs.NewSampler(
		func(netip.Prefix) netip.Prefix { return netip.Prefix{} },
		func(network netip.Prefix, left int) {
			client := "others"
			if network.IsValid() {
				client = network.Addr().String()
			}
			log.LogAttrs(context.Background(), slog.LevelWarn, "more requests were refused than the log tells of",
				slog.String("listener", listener), slog.String("client", client), slog.Int("left_out", left), slog.String("period", logs.SamplePeriod.String()))
		},
	)}
}

// May reports whether to write the line of a response.
func (s RefusalSampler) May(client netip.Addr, status int) bool {
	if status < http.StatusBadRequest {
		return true
	}
	bits := 64
	if client.Is4() {
		bits = 32
	}
	network, _ := client.Prefix(bits) // of no address it is that of all others
	return s.lines.May(network)
}
