// Package logs carries what is known of a request, such as its id and tenant,
// into every log line written on its behalf.
package logs

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/fault"
)

type key struct{}

// With returns a context whose log lines carry attrs besides those that ctx
// already has. Never put a secret there.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	held, _ := ctx.Value(key{}).([]slog.Attr)
	all := slices.Concat(held, attrs)
	for i := len(held); i < len(all); i++ {
		all[i], _ = clipAttr(all[i])
	}
	return context.WithValue(ctx, key{}, all)
}

// Handler adds to each record what With put into the context, and the ids of
// the running trace span. It clips every text that is too long, and leaves out lines
// that repeat too often: the one place where what comes from outside is kept from
// filling the log.
type Handler struct {
	next  slog.Handler
	lines *sampler
}

// NewHandler wraps next.
func NewHandler(next slog.Handler) Handler { return Handler{next, newSampler(next)} }

// Enabled asks the wrapped handler.
func (h Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle adds the context's attributes and passes the record on.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	if !h.lines.may(r.Level, fault.Clip(r.Message)) {
		return nil
	}
	held, _ := ctx.Value(key{}).([]slog.Attr)
	span := trace.SpanContextFromContext(ctx)
	r = clipped(r)
	if len(held) == 0 && !span.IsValid() {
		return h.next.Handle(ctx, r)
	}
	r = r.Clone()
	r.AddAttrs(held...)
	if span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	short := slices.Clone(attrs)
	for i := range short {
		short[i], _ = clipAttr(short[i])
	}
	return Handler{h.next.WithAttrs(short), h.lines}
}

// WithGroup keeps the wrapping.
func (h Handler) WithGroup(name string) slog.Handler { return Handler{h.next.WithGroup(name), h.lines} }
