package kit

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/kit/endpoint"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/fault"
)

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

// outcome is what became of a call. One whose client left is no failure, as in the
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
