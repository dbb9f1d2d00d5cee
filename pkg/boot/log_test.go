package boot

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

func TestLogLinesCarryWhatTheContextHolds(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, Config{LogFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	ctx = logs.With(ctx, slog.String("request_id", "r1"))
	sibling := logs.With(ctx, slog.String("tenant", "other"))
	ctx = logs.With(ctx, slog.String("tenant", "acme"))
	log.With("part", "x").InfoContext(ctx, "hello")
	log.InfoContext(sibling, "hello")

	first, second, _ := strings.Cut(out.String(), "\n")
	var line map[string]string
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"request_id": "r1", "tenant": "acme", "part": "x",
		"trace_id": "01000000000000000000000000000000", "span_id": "0200000000000000",
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s = %q, want %q", k, line[k], v)
		}
	}
	if !strings.Contains(second, `"tenant":"other"`) || strings.Contains(second, "acme") {
		t.Errorf("a sibling context has other attributes: %s", second)
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, Config{LogLevel: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("unseen")
	log.Warn("seen")
	if !strings.HasPrefix(out.String(), "{") || strings.Contains(out.String(), "unseen") {
		t.Errorf("a buffer is not a terminal and the level is warn: %s", out.String())
	}
	if _, err := NewLogger(&out, Config{LogLevel: "loud"}); err == nil {
		t.Error("log_level loud is taken")
	}
}

// One event is one line, whatever is in it.
func TestF10_LogInjection(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		for _, payload := range []string{
			"a\nlevel=ERROR msg=forged", "a\r\nb", "\x1b[2J\x1b[31mred", `","level":"ERROR`, `" level=ERROR msg="forged`, "\x00", "\u2028line", "\u202eevil", "\xff\xfe", "a\u0085b", "=", "\x7f",
		} {
			var out bytes.Buffer
			log, err := NewLogger(&out, Config{LogFormat: format})
			if err != nil {
				t.Fatal(err)
			}
			log.InfoContext(logs.With(t.Context(), slog.String("tenant", payload)), payload, "path", payload)
			line, rest, _ := strings.Cut(out.String(), "\n")
			if rest != "" || strings.ContainsAny(line, "\r\x1b\x00") {
				t.Errorf("%s: %q is logged as %q", format, payload, out.String())
			}
			if strings.Contains(line, "level=ERROR msg=forged\n") || strings.Contains(line, `,"level":"ERROR`) {
				t.Errorf("%s: %q forged a field: %q", format, payload, line)
			}
		}
	}
}
