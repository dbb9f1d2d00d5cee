// Package kit is all the go-kit glue of Berth: typed operations, their HTTP
// handlers, and the middlewares that serve every operation of every service.
package kit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/kit/endpoint"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/fault"
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

// Tracing opens one span per call, named after the operation. Only internal
// failures (kinds of status 5xx) make the span an error; a refusal or a client that
// left does not.
func Tracing(p trace.TracerProvider) Middleware {
	tracer := p.Tracer("github.com/berth-registry/berth/services")
	return func(op string) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				ctx, span := tracer.Start(ctx, op)
				defer span.End()
				resp, err := next(ctx, req)
				if span.IsRecording() {
					got := outcome(ctx, err)
					span.SetAttributes(attribute.String("berth.outcome", got))
					if got != cancelled && err != nil && fault.KindOf(err).Failure() {
						span.RecordError(err)
						span.SetStatus(codes.Error, string(fault.From(err).Reason))
					}
				}
				return resp, err
			}
		}
	}
}

// Metrics counts and times every call by operation and outcome. A blob's time
// ends when it is open, not when it is sent. It panics when reg already has
// the histogram: build it once per process.
func Metrics(reg prometheus.Registerer) Middleware {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "berth_operation_seconds",
		Help:    "Time an operation took until its answer was known, by outcome (ok, cancelled by its client, or the kind of fault).",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
	}, []string{"operation", "outcome"})
	reg.MustRegister(seconds)
	return func(op string) endpoint.Middleware {
		ok := seconds.WithLabelValues(op, succeeded) // looked up once: the hot path is success
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				start := time.Now()
				resp, err := next(ctx, req)
				if err == nil {
					ok.Observe(time.Since(start).Seconds())
				} else {
					seconds.WithLabelValues(op, outcome(ctx, err)).Observe(time.Since(start).Seconds())
				}
				return resp, err
			}
		}
	}
}

// The outcomes that are not kinds of fault.
const (
	succeeded = "ok"
	cancelled = "cancelled"
)

// outcome is the result of a call. One whose client left is no failure, as in the
// access log, which calls it 499.
func outcome(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return cancelled
	}
	return fault.KindOf(err).String()
}
