package admin

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// adminScope is what any call of this API needs before its method is known.
const adminScope = "admin API"

// unknownActor is the actor of a login with a credential that is not known.
const unknownActor = "(unknown)"

// What metrics and the log call the listeners.
const (
	grpcListener = "admin_grpc"
	restListener = "admin"
)

// line is the access line of one call over gRPC, with the same keys as that of
// an HTTP request. A call that came by REST has its line at the HTTP listener.
type line struct {
	gate
	method    string // a label of a metric: of a few values
	path      string
	began     time.Time
	principal string
	scope     string
}

func (g gate) begin(method string) *line {
	return &line{gate: g, method: method, path: "/" + pb.AdminService_ServiceDesc.ServiceName + "/" + method, began: time.Now(), scope: scopeOf(method)}
}

// end writes the line of a call that ended with err.
func (l *line) end(ctx context.Context, err error) {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr.Network() == pipeNetwork {
		return
	}
	took := time.Since(l.began)
	s := codeOf(ctx, err)
	httpStatus := runtime.HTTPStatusFromCode(s)
	l.metrics.ObserveRPC(l.method, s.String(), took)
	if s == codes.Unauthenticated && len(metadata.ValueFromIncomingContext(ctx, "authorization")) > 0 {
		l.metrics.LoginFailed(grpcListener, web.WrongCredential)
		l.loginFailed(ctx, grpcListener, client(ctx), userAgent(ctx))
	}
	level := slog.LevelInfo
	if err != nil && !clientLeft(ctx, err) && fault.KindOf(err).Failure() {
		level = slog.LevelError
	}
	if !l.log.Enabled(ctx, level) || !l.lines.May(client(ctx), httpStatus) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", http.MethodPost),
		slog.String("path", l.path),
		slog.Int("status", httpStatus),
		slog.String("grpc_status", s.String()),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
		slog.String("client", cmp.Or(clientAddress(ctx), p.Addr.String())),
		slog.String("principal", cmp.Or(l.principal, "anonymous")),
	}
	if err != nil {
		f := fault.From(err)
		attrs = append(attrs, slog.String("code", string(f.Reason)), slog.String("reason", string(f.Reason)),
			slog.String("detail", f.Message), slog.String("scope", l.scope))
	}
	l.log.LogAttrs(ctx, level, "request", attrs...)
}

// loginFailed writes the line of a failed login, and counts it for the operators' audit
// log. It belongs to no tenant: a credential that is not known is not known to belong
// to an account.
func (g gate) loginFailed(ctx context.Context, listener string, client netip.Addr, agent string) {
	g.refusals.Add(meta.Refusal{Tenant: meta.Deployment, Login: true, Actor: unknownActor, Address: web.AddrText(client), UserAgent: agent, Target: adminScope})
	g.log.WarnContext(ctx, "a login at the admin API failed", "listener", listener, "client", client)
}

// refusalOf is what the access line of a REST request says of an error.
func refusalOf(s *status.Status) web.Refusal {
	r := web.Refusal{Code: s.Code().String(), Detail: s.Message()}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			r.Code = info.GetReason()
		}
	}
	return r
}
