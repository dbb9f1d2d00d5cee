package kit

import (
	"context"
	"time"

	"github.com/go-kit/kit/endpoint"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/fault"
)

// Tracing opens one span per call, named after the operation. Only failures of
// ours (kinds of status 5xx) make the span an error; a refusal is an outcome.
func Tracing(p trace.TracerProvider) Named {
	tracer := p.Tracer("github.com/berth-registry/berth/services")
	return func(op string) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				ctx, span := tracer.Start(ctx, op)
				defer span.End()
				resp, err := next(ctx, req)
				if span.IsRecording() {
					span.SetAttributes(attribute.String("berth.outcome", outcome(err)))
					if err != nil && fault.KindOf(err).Failure() {
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
func Metrics(reg prometheus.Registerer) Named {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "berth_operation_seconds",
		Help:    "Time an operation took until its answer was known, by outcome (ok or the kind of fault).",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
	}, []string{"operation", "outcome"})
	reg.MustRegister(seconds)
	return func(op string) endpoint.Middleware {
		ok := seconds.WithLabelValues(op, outcome(nil)) // looked up once: the hot path is success
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				start := time.Now()
				resp, err := next(ctx, req)
				if err == nil {
					ok.Observe(time.Since(start).Seconds())
				} else {
					seconds.WithLabelValues(op, outcome(err)).Observe(time.Since(start).Seconds())
				}
				return resp, err
			}
		}
	}
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return fault.KindOf(err).String()
}
