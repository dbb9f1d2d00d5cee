package pgmeta

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracer makes a span of each round trip of a request that is traced: one
// statement, or a batch with an event for each of its statements. Statements are
// told by what they do to which table, as in "UPDATE uploads"; their values and
// the server's messages, which may quote them, are not in a trace.
type tracer struct {
	tracer trace.Tracer
	names  sync.Map // of statement texts, which are constants
}

var (
	_ pgx.QueryTracer = (*tracer)(nil)
	_ pgx.BatchTracer = (*tracer)(nil)
)

func newTracer(p trace.TracerProvider) *tracer {
	return &tracer{tracer: p.Tracer("github.com/berth-registry/berth/pkg/meta/pgmeta")}
}

func (t *tracer) start(ctx context.Context, name string, more ...attribute.KeyValue) context.Context {
	ctx, _ = t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), //nolint:spancheck // end ends it
		trace.WithAttributes(append(more, attribute.String("db.system.name", "postgresql"))...))
	return ctx
}

func end(ctx context.Context, err error) {
	span := trace.SpanFromContext(ctx)
	if err != nil {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("db.response.status_code", code(err)))
	}
	span.End()
}

// traced says whether ctx belongs to a trace that is kept.
func traced(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsSampled() }

// TraceQueryStart implements pgx.QueryTracer.
func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if !traced(ctx) {
		return ctx
	}
	return t.start(ctx, t.name(data.SQL))
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t *tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if traced(ctx) {
		end(ctx, data.Err)
	}
}

// TraceBatchStart implements pgx.BatchTracer.
func (t *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	if !traced(ctx) {
		return ctx
	}
	return t.start(ctx, "BATCH", attribute.Int("db.operation.batch.size", data.Batch.Len()))
}

// TraceBatchQuery implements pgx.BatchTracer.
func (t *tracer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	if traced(ctx) {
		trace.SpanFromContext(ctx).AddEvent(t.name(data.SQL), trace.WithAttributes(attribute.Int64("db.response.affected_rows", data.CommandTag.RowsAffected())))
	}
}

// TraceBatchEnd implements pgx.BatchTracer.
func (t *tracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	if traced(ctx) {
		end(ctx, data.Err)
	}
}

var (
	changes = regexp.MustCompile(`(?:^|\()\s*(INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)`)
	reads   = regexp.MustCompile(`\bFROM\s+(\w+)`)
)

// name is what a statement does, and to which table.
func (t *tracer) name(text string) string {
	if name, ok := t.names.Load(text); ok {
		return name.(string)
	}
	name, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	if m := changes.FindStringSubmatch(text); m != nil {
		verb, _, _ := strings.Cut(m[1], " ")
		name = verb + " " + m[2]
	} else if m := reads.FindStringSubmatch(text); m != nil {
		name = "SELECT " + m[1]
	}
	t.names.Store(text, name)
	return name
}
