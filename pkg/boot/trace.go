package boot

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

// Tracing makes the spans of a process and sends them.
type Tracing struct {
	trace.TracerProvider
	close func(context.Context) error
}

// newTracing sends spans over OTLP gRPC to the configured receiver; without one it
// makes no spans. If the receiver is down, only spans are lost. OpenTelemetry's own
// OTEL_… environment variables set headers, certificates and sampling.
func newTracing(ctx context.Context, c Config) (*Tracing, error) {
	if c.OTELEndpoint == "" {
		return &Tracing{noop.NewTracerProvider(), func(context.Context) error { return nil }}, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(c.OTELEndpoint))
	if err != nil {
		return nil, fmt.Errorf("otel_endpoint: %w", err)
	}
	v := ReadVersion()
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "berth"), attribute.String("service.version", v.Version)),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithFromEnv(), // last, so that OTEL_SERVICE_NAME wins
	)
	if err != nil {
		return nil, fmt.Errorf("describe this process for traces: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = logs.MaxText // of all attributes
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res), sdktrace.WithRawSpanLimits(limits))
	return &Tracing{p, p.Shutdown}, nil
}

// Close sends remaining spans until ctx ends.
func (t *Tracing) Close(ctx context.Context) error {
	if err := t.close(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}
