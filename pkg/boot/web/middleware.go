// Package web is what stands between a listener and the handlers of Berth:
// request ids, access log, metrics, spans, trusted proxies, recovery from
// panics and the pace a client must keep.
//
// No wrapper here hides http.ResponseController or io.ReaderFrom, so that a
// blob in a file still leaves by sendfile.
package web

import (
	"log/slog"
	"net/http"
	"net/netip"

	"go.opentelemetry.io/otel/trace"
)

// Middleware is everything between one listener and its handler. Log, Tracer
// and Metrics are needed; the rest may be zero.
type Middleware struct {
	Listener string // the listener's name, a label of every metric
	Log      *slog.Logger
	Tracer   trace.Tracer
	Metrics  *Metrics
	Scheme   string         // what clients speak to this listener: http or https
	Proxies  []netip.Prefix // networks whose forwarded headers are believed
	Peers    bool           // all that come are processes of this deployment, which sign what they send
	Pace     Pace
	Pauses   *Pauses // those of the process; nil are the listener's own

	// Fail answers a request whose handler panicked before it had answered.
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
