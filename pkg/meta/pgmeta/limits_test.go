package pgmeta

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// However many referrers one page asks for, the store holds little more than
// their bound of bytes at a time: annotations make each anything up to 4 MiB.
func TestD4_ReferrersReadAtOnceAreBounded(t *testing.T) {
	s, r := filled(t, Options{})
	subject := oci.DigestOf(oci.SHA256, []byte("subject"))
	const referrers, each = 12, 1 << 20
	for i := range referrers {
		payload := fmt.Appendf(nil, "%d%s", i, strings.Repeat(" ", each))
		parsed := &oci.Manifest{
			MediaType: oci.MediaTypeImageIndex, Subject: &oci.Descriptor{Digest: subject}, ArtifactType: "x",
			Annotations: map[string]string{"note": strings.Repeat("x", each)},
		}
		put := meta.ManifestPut{
			Repo:   r,
			Parsed: parsed, By: meta.Cause{Op: uuid.New()},
			Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: parsed.MediaType, Payload: payload},
		}
		if err := s.PutManifest(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	for _, artifactType := range []string{"", "x"} {
		page := meta.Page{Size: 256}
		seen := 0
		for {
			found, err := s.ListReferrers(t.Context(), r, subject, artifactType, page)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 {
				break
			}
			if len(found) > meta.MaxReferrerBytes/each+1 {
				t.Errorf("a page of %d referrers of 1 MiB", len(found))
			}
			seen += len(found)
			page.After = found[len(found)-1].Digest.String()
		}
		if seen != referrers {
			t.Errorf("of type %q: the pages have %d referrers", artifactType, seen)
		}
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
