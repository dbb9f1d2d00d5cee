package sqlitemeta

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func TestC14_StagedBytesAreBounded(t *testing.T) {
	s, r := filled(t, Options{MaxStaged: 10})
	u, err := s.CreateUpload(t.Context(), r, oci.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AdvanceUpload(t.Context(), u, blob.Progress{Offset: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateUpload(t.Context(), r, oci.SHA256); !fault.Is(err, fault.QuotaExceeded) || fault.KindOf(err) != fault.Denied {
		t.Errorf("over the limit: %v", err)
	}
	if err := s.CancelUpload(t.Context(), r, u.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateUpload(t.Context(), r, oci.SHA256); err != nil {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestC14_SessionsAreBounded(t *testing.T) {
	s, r := filled(t, Options{MaxSessions: 3}) // one of which is open
	for range 2 {
		if _, err := s.CreateUpload(t.Context(), r, oci.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CreateUpload(t.Context(), r, oci.SHA256); !fault.Is(err, fault.QuotaExceeded) {
		t.Errorf("over the limit: %v", err)
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
	if err := s.PutManifest(t.Context(), put); fault.KindOf(err) != fault.Unavailable {
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
