// Package kit is all the go-kit glue of Berth: typed operations, their HTTP
// handlers, and the middlewares that serve every operation of every service.
package kit

import (
	"context"
	"fmt"

	"github.com/go-kit/kit/endpoint"
)

// Middleware makes a go-kit middleware for the operation of that name. It is called
// once per operation, at start.
type Middleware func(op string) endpoint.Middleware

// Op is one operation of a service with its middlewares around it.
type Op[Req, Resp any] struct {
	Name     string
	Endpoint endpoint.Endpoint
}

// Empty is the response of an operation that returns nothing.
type Empty struct{}

// Wrap makes an operation of a service method. The first middleware is the
// outermost. Middlewares are built here, so that one that refuses to serve the
// operation (Access) fails at start.
func Wrap[Req, Resp any](name string, f func(context.Context, Req) (Resp, error), mw ...Middleware) Op[Req, Resp] {
	e := endpoint.Endpoint(func(ctx context.Context, req any) (any, error) {
		return f(ctx, req.(Req))
	})
	for i := len(mw) - 1; i >= 0; i-- {
		e = mw[i](name)(e)
	}
	return Op[Req, Resp]{Name: name, Endpoint: e}
}

// Call runs the operation in this process, middlewares included. It is also
// the whole body of a unary gRPC method.
func (o Op[Req, Resp]) Call(ctx context.Context, req Req) (Resp, error) {
	resp, err := o.Endpoint(ctx, req)
	if err != nil {
		var none Resp
		return none, err
	}
	return resp.(Resp), nil
}

// Access authorises every operation by its rule, before the operation sees the
// request. Building it for an operation that has no rule panics with the
// operation's name: no operation is open by omission.
func Access[Rule any](rules map[string]Rule, decide func(ctx context.Context, rule Rule, req any) error) Middleware {
	return func(op string) endpoint.Middleware {
		rule, ok := rules[op]
		if !ok {
			panic(fmt.Sprintf("kit: operation %q has no access rule", op))
		}
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				if err := decide(ctx, rule, req); err != nil {
					return nil, err
				}
				return next(ctx, req)
			}
		}
	}
}
