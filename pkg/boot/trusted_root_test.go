package boot

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestW174_TheTrustedRootIsReadAgain when the file changes. One that is gone is not trusted
// any longer.
func TestW174_TheTrustedRootIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trusted_root.json")
	c := Config{TrustedRoot: path}
	if _, err := c.OpenTrustedRoot(slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is missing is opened")
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	f, err := c.OpenTrustedRoot(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want := func(text string, good bool) {
		t.Helper()
		f.checked = time.Now().Add(-watchInterval)
		if got, err := f.Text(); got != text || (err == nil) != good {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	want("first", true)
	write("another")
	want("another", true)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("", false)
	want("", false)
	write("back")
	want("back", true)
	if f, err := (Config{}).OpenTrustedRoot(nil); f != nil || err != nil {
		t.Error(f, err)
	}
}
