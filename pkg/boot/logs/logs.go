// Package logs adds attributes of a request, such as its id and tenant, to every
// log line of the request.
package logs

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
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

// Handler adds to each record what With put into the context, and the ids of the
// running trace span. It clips long texts, and drops lines that repeat too often, so
// that clients cannot fill the log.
type Handler struct {
	next  slog.Handler
	lines *Sampler[message]
}

// message is the kind of a line, without its attributes.
type message struct {
	level slog.Level
	text  string
}

// NewHandler wraps next.
func NewHandler(next slog.Handler) Handler {
	return Handler{next, NewSampler(
		func(m message) message { return message{m.level, "others"} },
		func(m message, left int) {
			r := slog.NewRecord(time.Now(), max(m.level, slog.LevelWarn), "lines with the same message were left out", 0)
			r.AddAttrs(slog.String("message", m.text), slog.Int("left_out", left), slog.String("period", SamplePeriod.String()))
			_ = next.Handle(context.Background(), r) // as a line that cannot be written
		},
	)}
}

// Enabled calls the wrapped handler.
func (h Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle adds the context's attributes and passes the record on. It writes all lines of
// level Info: one for each request, or each action of an operator.
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level != slog.LevelInfo && !h.lines.May(message{r.Level, Clip(r.Message)}) {
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

// The most bytes of one text in a line. Errors hold the stack of a panic at times.
const (
	MaxText  = fault.MaxText
	maxError = 8 << 10
)

// stackMark is in the text of an error that holds a stack.
const stackMark = "\ngoroutine "

// stackKey is the attribute that holds the stack of a panic, whole.
const stackKey = "stack"

// Clip shortens a text that is longer than MaxText, and appends by how much. It leaves out
// what may be the secret name of a mirror host.
func Clip(text string) string { return clipTo(text, MaxText) }

func clipTo(text string, most int) string { return fault.ClipTo(tenant.RedactMirrors(text), most) }

// clipAttr returns the attribute with its text as Clip has it, and whether it changed.
func clipAttr(a slog.Attr) (slog.Attr, bool) {
	switch a.Value.Kind() {
	case slog.KindString:
		s := a.Value.String()
		most := MaxText
		if a.Key == stackKey {
			most = len(s)
		}
		if short := clipTo(s, most); short != s {
			return slog.String(a.Key, short), true
		}
	case slog.KindAny:
		return clipAny(a)
	case slog.KindLogValuer:
		a.Value = a.Value.Resolve()
		a, _ = clipAttr(a)
		return a, true
	case slog.KindGroup:
		short := make([]slog.Attr, len(a.Value.Group()))
		long := false
		for i, inner := range a.Value.Group() {
			var other bool
			short[i], other = clipAttr(inner)
			long = long || other
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(short...)}, long
	}
	return a, false
}

// clipAny is clipAttr for other types that contain text.
func clipAny(a slog.Attr) (slog.Attr, bool) {
	most := MaxText
	var text string
	switch v := a.Value.Any().(type) {
	case netip.Addr, netip.Prefix:
		return a, false
	case error:
		text = v.Error()
		if strings.Contains(text, stackMark) {
			most = maxError
		}
	default:
		text = fmt.Sprint(v)
	}
	short := clipTo(text, most)
	if short == text {
		return a, false
	}
	return slog.String(a.Key, short), true
}

// clipped returns the record with all texts clipped.
func clipped(r slog.Record) slog.Record {
	long := false
	r.Attrs(func(a slog.Attr) bool {
		_, long = clipAttr(a)
		return !long
	})
	most := MaxText
	if strings.Contains(r.Message, stackMark) {
		most = maxError // net/http logs a panic in one message
	}
	text := clipTo(r.Message, most)
	if !long && text == r.Message {
		return r
	}
	short := slog.NewRecord(r.Time, r.Level, text, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a, _ = clipAttr(a)
		short.AddAttrs(a)
		return true
	})
	return short
}
