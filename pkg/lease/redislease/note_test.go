package redislease

import (
	"strings"
	"testing"
)

// FuzzNote reads values that anyone may have written.
func FuzzNote(f *testing.F) {
	l := New(Options{Secret: "of all nodes"})
	genuine := l.value("key", "note")
	for _, s := range []string{"", "x", strings.Repeat("x", 48), strings.Repeat("x", 49), strings.Repeat("x", 48+256), strings.Repeat("x", 48+257)} {
		f.Add(s)
	}
	if note := l.note("key", genuine); note != "note" {
		f.Errorf("the genuine note is read as %q", note)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if note := l.note("key", value); note != "" {
			t.Errorf("%q is believed: %q", value, note)
		}
		if note := l.note("key", genuine+value); note != "" && value != "" {
			t.Errorf("a genuine value and %q: %q", value, note)
		}
	})
}
