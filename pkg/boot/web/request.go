package web

import (
	"context"
	"log/slog"
	"net/netip"
)

// request is what the middleware knows of the request it is serving. Only the
// goroutine of the handler may use it.
type request struct {
	id     string
	route  string
	client netip.Addr
	scheme string
	attrs  []slog.Attr
	out    *countingWriter
	pace   *pacing // nil before the pacer

	principal string
	refusal
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// RequestID returns the id that the answer carries as X-Request-Id; empty
// outside of Middleware.
func RequestID(ctx context.Context) string {
	if r := requestOf(ctx); r != nil {
		return r.id
	}
	return ""
}

// ClientAddr returns the address of the client, as its peer or a trusted proxy
// says; the zero Addr outside of Middleware.
func ClientAddr(ctx context.Context) netip.Addr {
	if r := requestOf(ctx); r != nil {
		return r.client
	}
	return netip.Addr{}
}

// Scheme returns the scheme the client used, http or https, as the listener's
// configuration or a trusted proxy says; http outside of Middleware.
func Scheme(ctx context.Context) string {
	if r := requestOf(ctx); r != nil && r.scheme != "" {
		return r.scheme
	}
	return "http"
}

// SetForwarded makes the request one that another process took in and handed on: its
// id there and its client. Call it from the handler's own goroutine; outside
// of Middleware it does nothing.
func SetForwarded(ctx context.Context, id string, client netip.Addr) {
	if r := requestOf(ctx); r != nil {
		r.attrs = append(r.attrs, slog.String("handed_on_by", r.client.String()), slog.String("origin_request_id", id))
		r.id, r.client = id, client
	}
}

// SetRoute names the kind of the request for metrics and the span: a constant
// of the code such as "blob" or "manifest", never text from a client. Call it
// from the handler's own goroutine; outside of Middleware it does nothing.
func SetRoute(ctx context.Context, route string) {
	if r := requestOf(ctx); r != nil {
		r.route = route
	}
}

// SetPrincipal names for the access line and the span who makes the request.
// Call it from the handler's own goroutine; outside of Middleware it does
// nothing.
func SetPrincipal(ctx context.Context, name string) {
	if r := requestOf(ctx); r != nil {
		r.principal = name
	}
}

// AddLogAttrs adds to the access log line and the span of the request what a handler
// found out, such as the tenant. Never put a secret there. Call it from the handler's own
// goroutine; outside of Middleware it does nothing.
func AddLogAttrs(ctx context.Context, attrs ...slog.Attr) {
	if r := requestOf(ctx); r != nil {
		r.attrs = append(r.attrs, attrs...)
	}
}
