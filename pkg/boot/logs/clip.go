package logs

import (
	"log/slog"
	"strconv"
	"strings"
)

// The most bytes of one text in a line. What clients and other servers send may
// be of any length. Errors hold the stack of a panic at times.
const (
	MaxText  = 1 << 10
	maxError = 8 << 10
)

// stackKey is the attribute that holds the stack of a panic, whole.
const stackKey = "stack"

// Clip shortens a text that is longer than MaxText, and says by how much.
func Clip(text string) string { return clip(text, MaxText) }

func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	kept := strings.ToValidUTF8(text[:most], "")
	return kept + "… (" + strconv.Itoa(len(text)-len(kept)) + " bytes more)"
}

// clipAttr returns the attribute with a text that is not too long, and whether
// it is another one.
func clipAttr(a slog.Attr) (slog.Attr, bool) {
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); len(s) > MaxText && a.Key != stackKey {
			return slog.String(a.Key, Clip(s)), true
		}
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			if s := err.Error(); len(s) > maxError {
				return slog.String(a.Key, clip(s, maxError)), true
			}
		}
	}
	return a, false
}

// clipped returns the record with no text that is too long.
func clipped(r slog.Record) slog.Record {
	long := false
	r.Attrs(func(a slog.Attr) bool {
		_, long = clipAttr(a)
		return !long
	})
	if !long {
		return r
	}
	short := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a, _ = clipAttr(a)
		short.AddAttrs(a)
		return true
	})
	return short
}
