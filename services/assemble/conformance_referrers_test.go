package assemble_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	typeSBOM      = "application/vnd.example.sbom.v1"
	typeSignature = "application/vnd.example.signature.v1"
)

// referrers reads one page and checks its form.
func (r repository) referrers(t *testing.T, target string) ([]imagespec.Descriptor, answer) {
	t.Helper()
	a := r.get(t, target).want(t, http.StatusOK).wantHeader(t, "Content-Type", typeIndex)
	var doc struct {
		SchemaVersion int                     `json:"schemaVersion"`
		MediaType     string                  `json:"mediaType"`
		Manifests     *[]imagespec.Descriptor `json:"manifests"`
	}
	a.decode(t, &doc)
	if doc.SchemaVersion != 2 || doc.MediaType != typeIndex || doc.Manifests == nil {
		t.Fatalf("%s: not an image index: %s", a.what, clip(string(a.body)))
	}
	return *doc.Manifests, a
}

// wantReferrers fails the test unless the subject has exactly these, each with
// that artifact type and those annotations.
func (r repository) wantReferrers(t *testing.T, target string, want ...manifest) answer {
	t.Helper()
	got, a := r.referrers(t, target)
	found := map[digest.Digest]imagespec.Descriptor{}
	for _, d := range got {
		found[d.Digest] = d
	}
	if len(got) != len(want) || len(found) != len(want) {
		t.Fatalf("%s: got %d referrers, want %d", a.what, len(got), len(want))
	}
	for _, m := range want {
		d, ok := found[m.Digest]
		if !ok {
			t.Fatalf("%s: %s is not listed", a.what, m.Digest)
		}
		if d.MediaType != m.MediaType || d.Size != int64(len(m.payload)) || d.ArtifactType != m.ArtifactType || !maps.Equal(d.Annotations, m.Annotations) {
			t.Errorf("%s: got the descriptor %+v, want %+v", a.what, d, m.Descriptor)
		}
	}
	return a
}

// referring makes an image with a subject and says how it is to be listed.
func (r repository) referring(t *testing.T, subject manifest, artifactType string, annotations map[string]string) manifest {
	t.Helper()
	m := r.artifact(t, artifactType, func(doc *imagespec.Manifest) {
		doc.Subject = &subject.Descriptor
		doc.Annotations = annotations
	})
	m.ArtifactType, m.Annotations = artifactType, annotations
	if artifactType == "" {
		m.ArtifactType = typeEmpty // that of the config
	}
	return m
}

var subjectRequirements = []requirement{
	{"Pushing Manifests with Subject", must, "OCI-Subject is the digest of the subject", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil), "latest")
		m := r.referring(t, subject, typeSBOM, nil)
		for _, reference := range []string{m.Digest.String(), "sbom"} {
			r.putManifest(t, reference, m).want(t, http.StatusCreated).wantHeader(t, "OCI-Subject", subject.Digest.String())
		}
		list := index(t, func(doc *imagespec.Index) { doc.Subject = &subject.Descriptor })
		r.putManifest(t, "list", list).want(t, http.StatusCreated).wantHeader(t, "OCI-Subject", subject.Digest.String())
	}},
	{"Push", must, "a subject that is not there does not matter", func(t *testing.T, r repository) {
		subject := r.image(t, nil)
		m := r.referring(t, subject, typeSBOM, map[string]string{"org.example.format": "json"})
		r.putManifest(t, "sbom", m).want(t, http.StatusCreated).wantHeader(t, "OCI-Subject", subject.Digest.String())
		r.wantManifest(t, "sbom", m)
		r.wantNoManifest(t, subject.Digest.String())
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), m)
		r.push(t, subject, "later")
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), m)
	}},
}

var referrersRequirements = []requirement{
	{"Listing Referrers", must, "none: 200 with an empty index, never 404", func(t *testing.T, r repository) {
		r.wantReferrers(t, r.at("referrers/%s", absent)) // no such repository
		m := r.push(t, r.image(t, nil), "latest")
		for _, subject := range []digest.Digest{m.Digest, absent, digest.SHA512.FromString("else")} {
			r.wantReferrers(t, r.at("referrers/%s", subject)).wantNoHeader(t, "Link").wantNoHeader(t, "OCI-Filters-Applied")
		}
	}},
	{"Listing Referrers", must, "a digest that is malformed is 400", func(t *testing.T, r repository) {
		r.push(t, r.image(t, nil))
		for _, d := range []string{"latest", "sha256:short", "sha256:" + strings.Repeat("g", 64), "md5:9a0364b9e99bb480dd25e1f0284c8555"} {
			r.get(t, r.at("referrers/%s", d)).want(t, http.StatusBadRequest).wantCode(t, "DIGEST_INVALID")
		}
	}},
	{"Listing Referrers", must, "artifact type and annotations are those of the manifest, else the type of its config", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil), "latest")
		note := map[string]string{"org.example.note": "héllo \"quoted\" <&>", "empty": ""}
		sbom := r.push(t, r.referring(t, subject, typeSBOM, note))
		signature := r.push(t, r.referring(t, subject, typeSignature, nil), "tagged")
		untyped := r.push(t, r.referring(t, subject, "", nil))
		plain := r.image(t, func(doc *imagespec.Manifest) { doc.Subject = &subject.Descriptor })
		plain.ArtifactType = typeConfig
		typed := index(t, func(doc *imagespec.Index) {
			doc.Subject, doc.ArtifactType, doc.Annotations = &subject.Descriptor, typeSBOM, note
		})
		typed.ArtifactType, typed.Annotations = typeSBOM, note
		bare := index(t, func(doc *imagespec.Index) { doc.Subject = &subject.Descriptor }, subject)
		for _, m := range []manifest{plain, typed, bare} {
			r.push(t, m)
		}
		a := r.wantReferrers(t, r.at("referrers/%s", subject.Digest), sbom, signature, untyped, plain, typed, bare)
		if strings.Contains(string(a.body), `"artifactType":""`) {
			t.Errorf("an artifact type that there is not is not left out: %s", clip(string(a.body)))
		}
	}},
	{"Listing Referrers", must, "only those of this repository, with this subject", func(t *testing.T, r repository) {
		subject, other := r.push(t, r.image(t, nil)), r.push(t, r.image(t, nil))
		m := r.push(t, r.referring(t, subject, typeSBOM, nil))
		r.push(t, r.referring(t, other, typeSBOM, nil))
		elsewhere := r.sibling("elsewhere")
		elsewhere.push(t, elsewhere.referring(t, subject, typeSBOM, nil))
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), m)
	}},
	{"Listing Referrers", ours, "subjects and referrers with digests of sha512", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil).in(digest.SHA512))
		m := r.referring(t, subject, typeSBOM, nil).in(digest.SHA512)
		r.putManifest(t, m.Digest.String(), m).want(t, http.StatusCreated).wantHeader(t, "OCI-Subject", subject.Digest.String())
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), m)
	}},
	{"Listing Referrers", should, "artifactType filters and is named in OCI-Filters-Applied", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil))
		first := r.push(t, r.referring(t, subject, typeSBOM, nil))
		second := r.push(t, r.referring(t, subject, typeSBOM, nil))
		untyped := r.push(t, r.referring(t, subject, "", nil))
		r.push(t, r.referring(t, subject, typeSignature, nil))
		for artifactType, want := range map[string][]manifest{typeSBOM: {first, second}, typeEmpty: {untyped}, "application/other": nil} {
			target := withQuery(t, r.at("referrers/%s", subject.Digest), "artifactType", artifactType)
			r.wantReferrers(t, target, want...).wantHeader(t, "OCI-Filters-Applied", "artifactType")
		}
	}},
	{"Listing Referrers", must, "Link leads through all, each once, filter included", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil))
		want := map[string][]digest.Digest{}
		for i := range 7 {
			artifactType := []string{typeSBOM, typeSignature}[i%2]
			m := r.push(t, r.referring(t, subject, artifactType, nil))
			want[""] = append(want[""], m.Digest)
			want[artifactType] = append(want[artifactType], m.Digest)
		}
		for artifactType, digests := range want {
			next := r.at("referrers/%s?n=2", subject.Digest)
			if artifactType != "" {
				next = withQuery(t, next, "artifactType", artifactType)
			}
			wantPages(t, r, next, 2, digests)
		}
	}},
	{"Listing Referrers", must, "what does not fit into one manifest is paged", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil))
		var want []digest.Digest
		for i := range 3 {
			note := map[string]string{"org.example.large": strings.Repeat("a", 2<<20), "n": fmt.Sprint(i)}
			want = append(want, r.push(t, r.referring(t, subject, typeSBOM, note)).Digest)
		}
		wantPages(t, r, r.at("referrers/%s", subject.Digest), 2, want)
	}},
	{"Enabling the Referrers API", must, "an index under the fallback tag is kept, and its manifests are listed once", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil))
		m := r.push(t, r.referring(t, subject, typeSBOM, nil))
		tag := strings.ReplaceAll(subject.Digest.String(), ":", "-")
		list := r.push(t, index(t, nil, m), tag)
		r.wantManifest(t, tag, list)
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), m)
	}},
	{"Listing Referrers", ours, "a referrer that is deleted is no longer listed", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil))
		stays, goes := r.push(t, r.referring(t, subject, typeSBOM, nil)), r.push(t, r.referring(t, subject, typeSBOM, nil))
		r.remove(t, r.at("manifests/%s", goes.Digest)).want(t, http.StatusAccepted)
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), stays)
	}},
	{"Listing Referrers", ours, "referrers outlive their subject", func(t *testing.T, r repository) {
		subject := r.push(t, r.image(t, nil))
		m := r.push(t, r.referring(t, subject, typeSBOM, nil))
		r.remove(t, r.at("manifests/%s", subject.Digest)).want(t, http.StatusAccepted)
		r.wantReferrers(t, r.at("referrers/%s", subject.Digest), m)
	}},
}

// wantPages fails the test unless the pages from next on hold exactly these
// digests, at most size on a page, in at most 4 MiB.
func wantPages(t *testing.T, r repository, next string, size int, want []digest.Digest) {
	t.Helper()
	var found []digest.Digest
	for next != "" {
		page, a := r.referrers(t, next)
		if len(page) > size || len(a.body) > maxManifest+1024 {
			t.Fatalf("%s: got %d referrers in %d bytes", a.what, len(page), len(a.body))
		}
		for _, d := range page {
			found = append(found, d.Digest)
		}
		next = a.nextPage(t)
	}
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Fatalf("got the referrers %v, want %v", found, want)
	}
}
