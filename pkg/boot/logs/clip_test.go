package logs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Wherever a long text is in a line, it is clipped.
func TestS6_LongTextsAreClippedEverywhere(t *testing.T) {
	long := strings.Repeat("a", 30_000)
	for name, write := range map[string]func(context.Context, *slog.Logger){
		"message": func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, long) },
		"text":    func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "x", "k", long) },
		"error":   func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "x", "k", errors.New(long)) },
		"list":    func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "x", "k", []string{long, long}) },
		"bytes":   func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "x", "k", []byte(long)) },
		"struct":  func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "x", "k", struct{ A string }{long}) },
		"group":   func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "x", slog.Group("g", "k", long)) },
		"context": func(ctx context.Context, l *slog.Logger) { l.InfoContext(With(ctx, slog.String("k", long)), "x") },
		"logger":  func(ctx context.Context, l *slog.Logger) { l.With("k", long).InfoContext(ctx, "x") },
	} {
		var out bytes.Buffer
		write(t.Context(), slog.New(NewHandler(slog.NewJSONHandler(&out, nil))))
		if out.Len() > 2*MaxText || !strings.Contains(out.String(), "bytes more") {
			t.Errorf("%s: %d bytes", name, out.Len())
		}
	}
}
