package pgmeta

import (
	"errors"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

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

// TestTextThatCannotBeStored: no 500 from input alone (contract section 1).
func TestTextThatCannotBeStored(t *testing.T) {
	s, r := filled(t, Options{})
	for _, text := range []string{"a\x00b", "a\xffb"} {
		if _, err := s.FindTenant(t.Context(), text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("reading %q: %v", text, err)
		}
		put := imagePut(r, "config", text)
		if err := s.PutManifest(t.Context(), put); fault.KindOf(err) != fault.Invalid {
			t.Errorf("writing %q: %v", text, err)
		}
	}
	put := imagePut(r, "config", "annotated")
	put.Parsed.Subject = &oci.Descriptor{Digest: put.Manifest.Digest}
	put.Parsed.Annotations = map[string]string{"a\x00b": "\x00"}
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Errorf("an annotation with NUL: %v", err)
	}
	referrers, err := s.ListReferrers(t.Context(), r, put.Manifest.Digest, "", meta.Page{Size: 1})
	if err != nil || len(referrers) != 1 || referrers[0].Annotations["a\x00b"] != "\x00" {
		t.Errorf("%+v, %v", referrers, err)
	}
}
