package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/kit"
)

// Limits of one connection and one message.
const (
	maxMessage = 1 << 20  // bytes
	maxHeaders = 16 << 10 // bytes
	maxAnswer  = 64 << 20 // bytes
	maxStreams = 250      // at a time
)

// Times of one connection. One without a call ends within a minute, five seconds of
// which are for its farewell.
const (
	maxHandshake = 10 * time.Second
	maxIdle      = 45 * time.Second
	maxAge       = time.Hour
	ageGrace     = time.Minute
	pingAfter    = 20 * time.Second
	pingTimeout  = 10 * time.Second
	minPingTime  = 10 * time.Second // between pings of a client
)

// pipeNetwork is what connections of the in-memory pipe call their network.
const pipeNetwork = "bufconn"

// Options are what a Server takes from its process.
type Options struct {
	Log         *slog.Logger
	Tracer      trace.TracerProvider
	Metrics     *web.Metrics
	Middlewares []kit.Middleware // around every operation, outermost first

	Hosts   web.Hosts      // at which REST answers
	Proxies []netip.Prefix // who may say for whom they call over gRPC, as Middleware.Proxies do for REST

	Refusals *audit.Refusals // counts what is denied; nil: nothing is

	// Ready says whether the process can serve, for the health service; nil: it
	// can.
	Ready func(context.Context) bool

	// Patience is how long a call over gRPC may wait for its client; default 30 s.
	Patience time.Duration
}

// Server is the service behind its transports: gRPC on any listener, REST as an
// http.Handler. REST goes through the same gRPC server, over a pipe in memory.
type Server struct {
	grpc *grpc.Server
	conn *grpc.ClientConn
	rest http.Handler

	tracked *trackedConns
}

// NewServer puts the transports before the service. Close it after use.
func NewServer(s *Service, o Options) (*Server, error) {
	access := kit.Access(rules, func(ctx context.Context, a pb.Access, req any) error {
		err := s.decide(ctx, a, req.(call).message)
		if fault.KindOf(err) == fault.Denied {
			c := callerOf(ctx)
			o.Refusals.Add(meta.Refusal{Tenant: c.principal.Tenant, Actor: c.actor(), Address: clientAddress(ctx), UserAgent: userAgent(ctx), Target: adminScope})
		}
		return err
	})
	g := gate{service: s, log: o.Log, metrics: o.Metrics, lines: web.NewRefusalSampler(grpcListener, o.Log), mw: append(slices.Clip(o.Middlewares), access), refusals: o.Refusals}

	traced := []otelgrpc.Option{otelgrpc.WithTracerProvider(o.Tracer), otelgrpc.WithPropagators(propagation.TraceContext{})}
	tracked := &trackedConns{}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxSendMsgSize(maxAnswer),
		grpc.ConnectionTimeout(maxHandshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: maxIdle, MaxConnectionAge: maxAge, MaxConnectionAgeGrace: ageGrace, Time: pingAfter, Timeout: pingTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingTime, PermitWithoutStream: true}),
		grpc.StatsHandler(otelgrpc.NewServerHandler(traced...)),
		grpc.StatsHandler(tracked),
		grpc.InTapHandle(callPace{o.Patience, o.Proxies}.tap),
		grpc.UnaryInterceptor(received),
		grpc.ChainStreamInterceptor(pacedStream, g.stream),
		grpc.UnknownServiceHandler(g.unknown),
	)
	server.RegisterService(operations(g), s)
	healthpb.RegisterHealthServer(server, health{ready: o.Ready})
	reflection.Register(server)

	pipe := bufconn.Listen(maxMessage)
	go func() { _ = server.Serve(pipe) }() // ends with the server; nothing else can fail on a pipe
	conn, err := grpc.NewClient("passthrough:///admin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(traced...)),
	)
	if err != nil {
		server.Stop()
		return nil, fmt.Errorf("connect the REST gateway: %w", err)
	}
	rest, err := newREST(g, conn)
	if err != nil {
		server.Stop()
		return nil, errors.Join(err, conn.Close())
	}
	guard := web.Operators{Hosts: o.Hosts, Refuse: func(w http.ResponseWriter, r *http.Request, code int, err error) {
		writeStatus(w, r, code, toStatus(r.Context(), o.Log, err))
	}}
	return &Server{grpc: server, conn: conn, rest: guard.Wrap(rest), tracked: tracked}, nil
}

// ServeGRPC answers gRPC on l until Close, which also closes l and is not an error,
// whichever comes first.
func (s *Server) ServeGRPC(l net.Listener) error {
	if err := s.grpc.Serve(s.tracked.listen(l)); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// ServeHTTP answers REST and /openapi.json.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.rest.ServeHTTP(w, r) }

// Close lets the running calls end, until ctx does; then it cuts them off. It
// may be called again.
func (s *Server) Close(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	if err := s.conn.Close(); status.Code(err) != codes.Canceled { // which says that it is closed
		return err
	}
	return nil
}
