package admin

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/services/internal/kit"
)

// gate is what every call passes before its operation: request id,
// authentication, decoding, middlewares (access is the innermost), and afterwards
// the mapping of errors.
type gate struct {
	service *Service
	log     *slog.Logger
	metrics *web.Metrics // nil: nothing is counted
	lines   web.RefusalSampler
	mw      []kit.Middleware
}

// method makes an operation callable over gRPC. It authenticates before the
// request is decoded, which a grpc.UnaryServerInterceptor could not.
func method[P interface {
	*M
	proto.Message
}, M, Resp any](g gate, name string, f func(context.Context, P) (Resp, error)) grpc.MethodDesc {
	op := kit.Wrap(name, f, g.mw...)
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			ctx = withRequestID(ctx)
			line := g.begin(name)
			resp, err := recovered(func() (any, error) {
				c, err := g.service.callerOfCall(ctx)
				if err != nil {
					return nil, err
				}
				line.principal = c.actor()
				req := P(new(M))
				if err := decode(req); err != nil {
					if tooSlow(ctx) {
						return nil, fault.Wrap(err, fault.TooSlow, fault.RequestTimeout, "the request message came too slowly")
					}
					return nil, fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the request is not a message of this method")
				}
				stopWaiting(ctx)
				return op.Call(rememberTenant(withCaller(ctx, c)), req)
			})
			startWaiting(ctx)
			line.end(ctx, err)
			if err != nil {
				return nil, toStatus(ctx, g.log, err).Err()
			}
			return resp, nil
		},
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
