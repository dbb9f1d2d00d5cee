package boot

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestT73_UpstreamAuthoritiesAreReadAgain when the file changes, and are not given up for a
// file that cannot be read: the log names the setting, once.
func TestT73_UpstreamAuthoritiesAreReadAgain(t *testing.T) {
	first, second := readAuthority(t), readAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text []byte) {
		t.Helper()
		next := file + ".next"
		if err := os.WriteFile(next, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	var log bytes.Buffer
	f, err := Config{UpstreamCA: file}.UpstreamAuthorities(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	write(second)
	if !bytes.Equal(f.PEM(), first) {
		t.Error("the file is read at each use")
	}
	later := func() []byte {
		f.checked = time.Now().Add(-watchInterval)
		return f.PEM()
	}
	if !bytes.Equal(later(), second) {
		t.Error("the file is not read again")
	}
	for name, change := range map[string]func(){
		"without a certificate": func() { write([]byte("nothing in PEM")) },
		"empty":                 func() { write(nil) },
		"missing": func() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
	} {
		log.Reset()
		change()
		for range 3 {
			if !bytes.Equal(later(), second) {
				t.Errorf("%s: the authorities are given up", name)
			}
		}
		if got := log.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, "setting=upstream_ca") {
			t.Errorf("%s: the log says %q", name, got)
		}
		write(first)
		if !bytes.Equal(later(), first) {
			t.Errorf("%s: a file that is right again is not read", name)
		}
		write(second)
		later()
	}
	var none *AuthorityFile
	if none.PEM() != nil {
		t.Error("authorities without a file")
	}
}

func readAuthority(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(testserver.NewAuthority(t).File)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
