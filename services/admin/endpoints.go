package admin

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/audit"
	"github.com/berth-registry/berth/services/internal/kit"
)

// gate is what every call passes before its operation: request id, authentication,
// decoding, middlewares (access is the innermost), and afterwards the mapping of errors.
type gate struct {
	service *Service
	log     *slog.Logger
	metrics *web.Metrics // nil: nothing is counted
	lines   web.RefusalSampler
	mw      []kit.Middleware

	refusals *audit.Refusals // nil: nothing is counted
}

// operations is the gRPC service, made of one go-kit operation per RPC.
func operations(g gate) *grpc.ServiceDesc {
	d := pb.AdminService_ServiceDesc
	d.Methods = mapped(d.Methods, g.operation)
	return &d
}

// call is the request of an operation: the message, and the generated handler that
// passes it to the method of Service.
type call struct {
	message proto.Message
	handle  grpc.UnaryHandler
}

// operation puts the gate before the generated handler of an RPC. It authenticates
// before the request is decoded, which a grpc.UnaryServerInterceptor could not.
func (g gate) operation(rpc grpc.MethodDesc) grpc.MethodDesc {
	name, generated := rpc.MethodName, rpc.Handler
	op := kit.Wrap(name, func(ctx context.Context, c call) (any, error) { return c.handle(ctx, c.message) }, g.mw...)
	afterDecoding := func(ctx context.Context, message any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		stopWaiting(ctx)
		return op.Call(ctx, call{message.(proto.Message), handle})
	}
	rpc.Handler = func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		ctx = withRequestID(ctx)
		line := g.begin(name)
		resp, err := recovered(func() (any, error) {
			c, err := g.service.callerOfCall(ctx)
			if err != nil {
				return nil, err
			}
			line.principal = c.actor()
			decoded := func(message any) error { return decodeError(ctx, decode(message)) }
			return generated(srv, rememberTenant(withCaller(ctx, c)), decoded, afterDecoding)
		})
		startWaiting(ctx)
		line.end(ctx, err)
		if err != nil {
			return nil, toStatus(ctx, g.log, err).Err()
		}
		return resp, nil
	}
	return rpc
}

func decodeError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case tooSlow(ctx):
		return fault.Wrap(err, fault.TooSlow, fault.RequestTimeout, "the request message came too slowly")
	default:
		return fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the request is not a message of this method")
	}
}

// recovered turns a panic of f into an error: gRPC would let it end the process.
func recovered(f func() (any, error)) (any, error) {
	var resp any
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		resp, err = f()
	}()
	return resp, err
}
