package logs

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Lines that repeat are counted, whatever their attributes say; others, and what is
// served, are all there.
func TestS7_RepeatedLinesAreSampled(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := NewHandler(slog.NewTextHandler(&out, nil))
	log := slog.New(h).With("process", 1)
	for i := range 3 * SampledLines {
		log.Error("panic", "value", i)
		log.Info("request")
	}
	log.Warn("another")
	for i := range 2 * maxKinds {
		log.Warn(fmt.Sprintf("message %d", i))
	}
	if n := len(h.lines.counts); n > maxKinds+2 { // the others of two levels
		t.Errorf("%d messages are distinguished", n)
	}
	h.lines.End()
	for text, want := range map[string]int{
		"level=ERROR msg=panic": SampledLines, "level=INFO msg=request": 3 * SampledLines, "msg=another": 1, "message=panic left_out=200": 1,
	} {
		if n := strings.Count(out.String(), text); n != want {
			t.Errorf("%s: %d lines, want %d", text, n, want)
		}
	}
	log.Error("panic")
	if n := strings.Count(out.String(), "level=ERROR msg=panic"); n != SampledLines+1 {
		t.Errorf("another period has no line: %d", n)
	}
}
