package metatest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

func testReferrers(t *testing.T, open Open) {
	t.Run("are listed by their subject", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		image := w.image(nil, config)
		subject := descriptor(image.Manifest)
		sbom := w.artifact(subject, "application/sbom", map[string]string{"made": "today"}, config)
		typeless := w.image(subject, config)
		w.put(r, sbom)
		w.put(r, typeless, "tagged")
		w.put(r, image, "v1") // a subject need not exist before its referrers
		w.put(w.repo("other"), w.index())

		want := []meta.Referrer{
			{Digest: sbom.Manifest.Digest, MediaType: oci.MediaTypeImageManifest, Size: int64(len(sbom.Manifest.Payload)), ArtifactType: "application/sbom", Annotations: map[string]string{"made": "today"}},
			{Digest: typeless.Manifest.Digest, MediaType: oci.MediaTypeImageManifest, Size: int64(len(typeless.Manifest.Payload)), ArtifactType: "application/vnd.oci.image.config.v1+json"},
		}
		slices.SortFunc(want, byDigest)
		w.sameReferrers(r, subject.Digest, "", "", want...)
		for _, one := range want {
			w.sameReferrers(r, subject.Digest, one.ArtifactType, "", one)
		}
		w.sameReferrers(r, subject.Digest, "application/none", "")
		w.sameReferrers(r, digestOf("unknown"), "", "")
		w.sameReferrers(w.repo("other"), subject.Digest, "", "")
		w.sameReferrers(w.repo("none"), subject.Digest, "", "")
		w.sameReferrers(r, subject.Digest, "", want[0].Digest.String(), want[1])
		w.consistent()
	})
	t.Run("page by digest", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		subject := &oci.Descriptor{MediaType: oci.MediaTypeImageManifest, Digest: digestOf("subject"), Size: 7}
		types := []string{"application/a", "application/b"}
		var all []meta.Referrer
		for i, text := range numbered("referrer %d", 20) {
			m := w.put(r, w.artifact(subject, types[i%2], map[string]string{"text": text}, config))
			all = append(all, meta.Referrer{Digest: m.Digest, ArtifactType: types[i%2]})
		}
		slices.SortFunc(all, byDigest)
		for _, filter := range []string{"", types[0], types[1]} {
			var want, got []oci.Digest
			for _, one := range all {
				if filter == "" || one.ArtifactType == filter {
					want = append(want, one.Digest)
				}
			}
			page := meta.Page{Size: 3}
			for {
				found, err := w.Store.ListReferrers(t.Context(), r, subject.Digest, filter, page)
				w.must(err)
				if len(found) == 0 {
					break
				}
				for _, one := range found {
					got = append(got, one.Digest)
				}
				page.After = got[len(got)-1].String()
			}
			if !slices.Equal(got, want) {
				t.Errorf("of type %q: %v, want %v", filter, got, want)
			}
		}
	})
	// Annotations make each referrer anything up to 4 MiB.
	t.Run("D4 page by bytes", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		subject := &oci.Descriptor{Digest: digestOf("subject")}
		const referrers, each = 12, 1 << 20
		for i := range referrers {
			payload := fmt.Appendf(nil, "%d%s", i, strings.Repeat(" ", each))
			w.put(r, meta.ManifestPut{
				Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: oci.MediaTypeImageIndex, Payload: payload},
				Parsed: &oci.Manifest{
					MediaType: oci.MediaTypeImageIndex, Subject: subject, ArtifactType: "x",
					Annotations: map[string]string{"note": strings.Repeat("x", each)},
				},
			})
		}
		for _, artifactType := range []string{"", "x"} {
			page, seen := meta.Page{Size: 256}, 0
			for {
				found, err := w.Store.ListReferrers(t.Context(), r, subject.Digest, artifactType, page)
				w.must(err)
				if len(found) == 0 {
					break
				}
				if len(found) > meta.MaxReferrerBytes/each+1 {
					t.Errorf("of type %q: a page of %d referrers of 1 MiB", artifactType, len(found))
				}
				seen += len(found)
				page.After = found[len(found)-1].Digest.String()
			}
			if seen != referrers {
				t.Errorf("of type %q: the pages have %d referrers", artifactType, seen)
			}
		}
	})
	t.Run("go with their subject where the registry says so", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		image := w.image(nil, config)
		sbom := w.artifact(descriptor(image.Manifest), "application/sbom", nil, config)
		signature := w.artifact(descriptor(sbom.Manifest), "application/signature", nil, config)
		stays := w.artifact(nil, "application/other", nil, config)
		put := func() {
			w.put(r, image, "v1")
			w.put(r, sbom)
			w.put(r, signature, "sig")
			w.put(r, stays, "stays")
		}
		put()
		w.must(w.tryDelete(r, image.Manifest.Digest))
		w.sameTags(r, "sig", "stays")
		put()
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: image.Manifest.Digest, By: cause(), Referrers: true}))
		w.sameTags(r, "stays")
		found, err := w.Store.FindRepository(t.Context(), r)
		if err != nil || found.Manifests != 1 {
			t.Errorf("left: %+v, %v", found, err)
		}
		w.consistent()
	})
}

func descriptor(m meta.Manifest) *oci.Descriptor {
	return &oci.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Payload))}
}

// artifact is a parsed artifact: an image manifest with a type of its own.
func (w world) artifact(subject *oci.Descriptor, artifactType string, annotations map[string]string, config meta.Blob) meta.ManifestPut {
	w.t.Helper()
	extra := ocitest.Extra{ArtifactType: artifactType, Subject: subject, Annotations: annotations}
	return w.parsed(extra.Manifest(content(imagespec.MediaTypeEmptyJSON, config)))
}

func byDigest(a, b meta.Referrer) int {
	return strings.Compare(a.Digest.String(), b.Digest.String())
}

func (w world) sameReferrers(r meta.Repo, subject oci.Digest, artifactType, after string, want ...meta.Referrer) {
	w.t.Helper()
	got, err := w.Store.ListReferrers(w.t.Context(), r, subject, artifactType, meta.Page{After: after, Size: 100})
	w.must(err)
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		w.t.Errorf("referrers of %s of type %q after %q:\n%+v, want\n%+v", subject, artifactType, after, got, want)
	}
}

func (w world) sameTags(r meta.Repo, want ...string) {
	w.t.Helper()
	got, err := w.Store.ListTags(w.t.Context(), r, meta.Page{Size: 100})
	if err != nil || !slices.Equal(got, want) {
		w.t.Errorf("tags %v, %v; want %v", got, err, want)
	}
}
