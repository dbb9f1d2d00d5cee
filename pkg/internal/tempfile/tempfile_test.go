package tempfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/internal/tempfile"
)

func TestUnlinked(t *testing.T) {
	dir := t.TempDir()
	f, err := tempfile.Unlinked(dir, "test-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the file has a name: %v, %v", names, err)
	}
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Error(err)
	}
	got := make([]byte, 7)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "content" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := tempfile.Unlinked(filepath.Join(dir, "missing"), "test-"); err == nil {
		t.Error("a file in a directory that is not there")
	}
}
