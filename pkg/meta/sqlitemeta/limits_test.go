package sqlitemeta

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// The file holds the keys that sign tokens, so no other user may read it, also in
// a directory that existed and that all may enter.
func TestB16_FilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 4 { // meta.db, its -wal and -shm, and the lock
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

// TestR35_FullDisk lets the file grow no further in the middle of a push.
func TestR35_FullDisk(t *testing.T) {
	s, r := filled(t, Options{})
	pages := func(pragma string) int {
		var n int
		err := s.write(t.Context(), func(tx *tx) error {
			_, err := tx.find("PRAGMA "+pragma, nil, &n)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	pages(fmt.Sprintf("max_page_count = %d", pages("page_count")+2))
	payload := []byte(strings.Repeat("x", 100_000))
	put := meta.ManifestPut{
		Repo: r, Tags: []string{"large"}, By: meta.Cause{Op: uuid.New()}, Parsed: &oci.Manifest{},
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: oci.MediaTypeImageIndex, Payload: payload},
	}
	if err := s.PutManifest(t.Context(), put); fault.KindOf(err) != fault.Full {
		t.Errorf("on a full disk: %v", err)
	}
	if _, err := s.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"}); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
	pages("max_page_count = 1000000")
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

func TestContentSurvivesAReopen(t *testing.T) {
	dir := t.TempDir()
	s, r := filled(t, Options{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Dir: dir})
	if _, err := again.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"}); err != nil {
		t.Error(err)
	}
	if found := findings(t, again); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}

func TestTranslateKeepsOutagesApart(t *testing.T) {
	own := fault.New(fault.NotFound, fault.BlobUnknown, "no")
	if err := translate(own); !errors.Is(err, own) {
		t.Errorf("a fault became %v", err)
	}
	if err := translate(errors.New("?")); fault.KindOf(err) != fault.Internal {
		t.Errorf("the unforeseen became %v", err)
	}
	if translate(nil) != nil {
		t.Error("nil became an error")
	}
}
