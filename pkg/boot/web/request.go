package web

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
)

// request is the middleware's state of a request. Only the goroutine of the handler
// may use it.
type request struct {
	id     string
	route  string
	client netip.Addr
	agent  string // as the client says
	scheme string
	attrs  []slog.Attr
	out    *CountingWriter
	pace   *pacing // nil before the pacer

	principal string
	refusal
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// RequestID returns the id in the response's X-Request-Id; empty outside of
// Middleware.
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

// WithClient returns a context in which ClientAddr and UserAgent are these: for a call that
// did not come through Middleware.
func WithClient(ctx context.Context, client netip.Addr, agent string) context.Context {
	return context.WithValue(ctx, requestKey{}, &request{client: client, agent: agent})
}

// AddrText writes an address as events have it: IPv4 as such, and nothing for an address
// that is not known.
func AddrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

// Network is the address that a client is counted by. Who has an IPv6 address has the whole
// network of 64 bits that it is in.
func Network(a netip.Addr) netip.Addr {
	const one = 64
	if a = a.Unmap(); !a.Is6() {
		return a
	}
	return netip.PrefixFrom(a.WithZone(""), one).Masked().Addr()
}

// maxUserAgent is how much of a client's name for itself is kept, in bytes.
const maxUserAgent = 256

// UserAgent returns the name that the client gives itself, clipped; empty outside of
// Middleware.
func UserAgent(ctx context.Context) string {
	if r := requestOf(ctx); r != nil {
		return ClipUserAgent(r.agent)
	}
	return ""
}

// ClipUserAgent clips what a client says of itself.
func ClipUserAgent(agent string) string {
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	return strings.ToValidUTF8(agent, "")
}

// Scheme returns the scheme the client used, http or https, as the listener's
// configuration or a trusted proxy says; http outside of Middleware.
func Scheme(ctx context.Context) string {
	if r := requestOf(ctx); r != nil && r.scheme != "" {
		return r.scheme
	}
	return "http"
}

// SetForwarded records that another process forwarded the request, with its id there
// and its client. Call it from the handler's own goroutine; outside of Middleware it
// does nothing.
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

// SetPrincipal sets the principal of the request for the access log and the span.
// Call it from the handler's own goroutine; outside of Middleware it does nothing.
func SetPrincipal(ctx context.Context, name string) {
	if r := requestOf(ctx); r != nil {
		r.principal = name
	}
}

// AddLogAttrs adds attributes to the access log line and the span of the request,
// such as the tenant. Never put a secret there. Call it from the handler's own
// goroutine; outside of Middleware it does nothing.
func AddLogAttrs(ctx context.Context, attrs ...slog.Attr) {
	if r := requestOf(ctx); r != nil {
		r.attrs = append(r.attrs, attrs...)
	}
}

// Refusal says why a request is answered with a status of 400 or above.
type Refusal struct {
	Code   string `json:"code"`             // of the answer's body; a constant of the code, since it labels a metric
	Reason string `json:"reason,omitempty"` // where it is more exact than the code
	Detail string `json:"detail,omitempty"` // for people; what the client was told, never a secret
}

// refusal is what the line of such an answer says besides.
type refusal struct {
	Refusal
	tried   string
	login   string // why a login failed; empty if none did
	badCall string // why a call from another process is refused; empty if it is not
	left    bool   // the client left before there was an answer
	scope   string
}

// The reasons of failed logins, as labels of the metric.
const (
	WrongCredential = "credential" // no such account, or not this secret
	TooManyFailures = "too_many"   // the account or the address failed too often
)

// anonymous is the principal of a request before anyone is known.
const anonymous = "anonymous"

// Status is that of the answer; 0 before it, and outside of Middleware.
func Status(ctx context.Context) int {
	if r := requestOf(ctx); r != nil {
		return r.out.Status
	}
	return 0
}

// SetRefusal says for the access line and the metric of errors why the request is
// refused, or failed. Call it from the handler's own goroutine; outside of
// Middleware it does nothing.
func SetRefusal(ctx context.Context, why Refusal) {
	if r := requestOf(ctx); r != nil {
		r.Refusal = why
	}
}

// StatusClientLeft is the status in metrics and log of a request whose client left
// before the response, as in other servers. It is never sent.
const StatusClientLeft = 499

// SetClientLeft records that the client left before the response: no failure of Berth.
// Call it from the handler's own goroutine; outside of Middleware it does nothing.
func SetClientLeft(ctx context.Context) {
	if r := requestOf(ctx); r != nil {
		r.left = true
	}
}

// SetScope says what right the request needed. The line of a refusal holds it.
// Call it from the handler's own goroutine.
func SetScope(ctx context.Context, scope string) {
	if r := requestOf(ctx); r != nil {
		r.scope = scope
	}
}

// RefusedWithoutScope says that the answer is a refusal whose scope is not known.
func RefusedWithoutScope(ctx context.Context) bool {
	r := requestOf(ctx)
	return r != nil && r.scope == "" && r.out.Status >= http.StatusBadRequest
}

// SetLoginFailed says that a login failed, why, and for which account: empty where
// none is named. Call it from the handler's own goroutine.
func SetLoginFailed(ctx context.Context, why, tried string) {
	if r := requestOf(ctx); r != nil {
		r.login, r.tried = why, tried
	}
}

// SetCallRefused says that a call from another process is refused, and why: one of a few
// words. Call it from the handler's own goroutine.
func SetCallRefused(ctx context.Context, why string) {
	if r := requestOf(ctx); r != nil {
		r.badCall = why
	}
}

// complete gives a refusal a code where no code of Berth wrote the answer, such
// as net/http's own for a range that cannot be served.
func (r *request) complete(status int) {
	if r.Code == "" {
		text := cmp.Or(http.StatusText(status), "Unknown")
		r.Code, r.Detail = strings.ToUpper(strings.ReplaceAll(text, " ", "_")), cmp.Or(r.Detail, text)
	}
	r.Reason = cmp.Or(r.Reason, r.Code)
	r.principal = cmp.Or(r.principal, anonymous)
}

// log adds what there is of it.
func (r refusal) log(attrs []slog.Attr) []slog.Attr {
	attrs = append(attrs, slog.String("code", r.Code), slog.String("reason", r.Reason), slog.String("detail", r.Detail))
	if r.tried != "" {
		attrs = append(attrs, slog.String("tried", r.tried))
	}
	if r.scope != "" {
		attrs = append(attrs, slog.String("scope", r.scope))
	}
	return attrs
}
