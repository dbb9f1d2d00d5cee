package admin

import (
	"context"
	"path"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
)

// health is the standard health service, which probes ask without a credential.
// It says what /readyz of the process says, and no more: one bit. Watch is
// Unimplemented, by which clients know to do without it; a stream that is open
// to everyone could be held for ever.
type health struct {
	healthpb.UnimplementedHealthServer
	ready func(context.Context) bool
}

// Check answers for the whole server, which is "", and for the admin API.
func (h health) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if s := r.GetService(); s != "" && s != pb.AdminService_ServiceDesc.ServiceName {
		return nil, status.Error(codes.NotFound, "this server has no such service")
	}
	serving := healthpb.HealthCheckResponse_SERVING
	if h.ready != nil && !h.ready(ctx) {
		serving = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: serving}, nil
}

// stream authenticates the calls that are streams: those of server reflection.
// It describes the API, which /openapi.json does for everyone, but its parser
// and its open streams are for those who may use the API.
func (g gate) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx := withRequestID(s.Context())
	unknown := srv == nil // and answered so to every caller
	if unknown || strings.HasPrefix(info.FullMethod, "/"+healthpb.Health_ServiceDesc.ServiceName+"/") {
		return next(srv, s)
	}
	l := g.begin(path.Base(info.FullMethod))
	l.path, l.scope = info.FullMethod, adminScope
	md, _ := metadata.FromIncomingContext(ctx)
	c, err := g.service.authenticate(ctx, md.Get("authorization"))
	if err == nil {
		l.principal = c.actor()
		if !c.operator && c.principal.Role != access.Admin {
			err = fault.New(fault.Denied, fault.DeniedReason, "this needs a token of an operator, or a key or access token of an account with the role ADMIN")
		}
	}
	if err != nil {
		l.end(ctx, err)
		return toStatus(ctx, g.log, err).Err()
	}
	_, err = recovered(func() (any, error) { return nil, next(srv, s) })
	l.end(ctx, nil)
	return err
}

// unknown answers calls of what the server does not have.
func (g gate) unknown(_ any, s grpc.ServerStream) error {
	ctx := withRequestID(s.Context())
	l := g.begin("other")
	l.scope = adminScope
	if full, ok := grpc.MethodFromServerStream(s); ok {
		l.path = full
	}
	err := fault.New(fault.Unsupported, fault.UnsupportedReason, "this server has no such method")
	l.end(ctx, err)
	return toStatus(ctx, g.log, err).Err()
}
