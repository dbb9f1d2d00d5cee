package boot

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"

	"github.com/berth-registry/berth/pkg/boot/logs"
)

// NewLogger writes to w in the configured format and level, and adds the attributes
// of the context to each line (see package logs). Both formats escape line breaks
// and control characters, so that one event is always one line.
func NewLogger(w io.Writer, c Config) (*slog.Logger, error) {
	level, err := parseLevel(c.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log_level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	if LogFormat(w, c) == "text" {
		return slog.New(logs.NewHandler(slog.NewTextHandler(w, opts))), nil
	}
	return slog.New(logs.NewHandler(slog.NewJSONHandler(w, opts))), nil
}

// LogFormat is the format in which logs are written to w: text or json.
func LogFormat(w io.Writer, c Config) string {
	if c.LogFormat != "" {
		return c.LogFormat
	}
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return "text"
	}
	return "json"
}

func parseLevel(text string) (slog.Level, error) {
	switch text {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("%q is not one of debug, info, warn, error", text)
	}
}
