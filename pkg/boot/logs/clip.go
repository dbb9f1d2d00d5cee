package logs

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
)

// The most bytes of one text in a line. Errors hold the stack of a panic at times.
const (
	MaxText  = fault.MaxText
	maxError = 8 << 10
)

// stackMark is in the text of an error that holds a stack.
const stackMark = "\ngoroutine "

// stackKey is the attribute that holds the stack of a panic, whole.
const stackKey = "stack"

// Clip shortens a text that is longer than MaxText, and says by how much.
func Clip(text string) string { return fault.Clip(text) }

// clipAttr returns the attribute with a text that is not too long, and whether
// it is another one.
func clipAttr(a slog.Attr) (slog.Attr, bool) {
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); len(s) > MaxText && a.Key != stackKey {
			return slog.String(a.Key, Clip(s)), true
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

// clipAny is clipAttr for the types that a text may hide in.
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
	if len(text) <= most {
		return a, false
	}
	return slog.String(a.Key, fault.ClipTo(text, most)), true
}

// clipped returns the record with no text that is too long.
func clipped(r slog.Record) slog.Record {
	long := false
	r.Attrs(func(a slog.Attr) bool {
		_, long = clipAttr(a)
		return !long
	})
	if !long && len(r.Message) <= MaxText {
		return r
	}
	most := MaxText
	if strings.Contains(r.Message, stackMark) {
		most = maxError // net/http tells of a panic in one message
	}
	short := slog.NewRecord(r.Time, r.Level, fault.ClipTo(r.Message, most), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a, _ = clipAttr(a)
		short.AddAttrs(a)
		return true
	})
	return short
}
