package assemble_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	typeImage      = imagespec.MediaTypeImageManifest
	typeIndex      = imagespec.MediaTypeImageIndex
	typeDocker     = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeConfig     = imagespec.MediaTypeImageConfig
	typeLayer      = imagespec.MediaTypeImageLayer
	typeEmpty      = imagespec.MediaTypeEmptyJSON
	typeBytes      = "application/octet-stream"
)

// absent is a digest that no content has.
var absent = digest.NewDigestFromEncoded(digest.SHA256, "00000000000000000000000000000000000000000000000000000000000000ff")

// random is content that no one has pushed before.
func random(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// manifest is one to push: its bytes and what leads to them.
type manifest struct {
	imagespec.Descriptor
	payload []byte
}

// encode makes a manifest of a document. The digest is a SHA-256.
func encode(t *testing.T, mediaType string, document any) manifest {
	t.Helper()
	payload, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return manifest{describe(mediaType, payload), payload}
}

func describe(mediaType string, content []byte) imagespec.Descriptor {
	return imagespec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// in makes the digest one of another algorithm.
func (m manifest) in(a digest.Algorithm) manifest {
	m.Digest = a.FromBytes(m.payload)
	return m
}

// blob pushes new content of the given size and returns it.
func (r repository) blob(t *testing.T, size int) (imagespec.Descriptor, []byte) {
	t.Helper()
	content := random(t, size)
	return r.blobOf(t, typeLayer, content), content
}

// blobOf pushes content in the way that every registry must have.
func (r repository) blobOf(t *testing.T, mediaType string, content []byte) imagespec.Descriptor {
	t.Helper()
	d := describe(mediaType, content)
	r.finish(t, r.start(t, "").location(t), d.Digest, content).want(t, http.StatusCreated)
	return d
}

// putManifest pushes under a tag or digest and does not look at the answer.
func (r repository) putManifest(t *testing.T, reference string, m manifest) answer {
	t.Helper()
	return r.send(t, request{
		method: http.MethodPut, target: r.at("manifests/%s", reference),
		header: headers("Content-Type", m.MediaType), body: m.payload,
	})
}

// push pushes a manifest by its digest and, one after the other, by the tags.
func (r repository) push(t *testing.T, m manifest, tags ...string) manifest {
	t.Helper()
	for _, reference := range append([]string{m.Digest.String()}, tags...) {
		r.putManifest(t, reference, m).want(t, http.StatusCreated)
	}
	return m
}

// imageOf is an image manifest in the words of image-spec: what Berth's own types
// make of it is what these tests are there to see.
func imageOf(config imagespec.Descriptor, layers ...imagespec.Descriptor) imagespec.Manifest {
	return imagespec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: typeImage, Config: config, Layers: append([]imagespec.Descriptor{}, layers...),
	}
}

// image makes an image manifest, whose blobs it pushes. edit may change the
// document; it may be nil.
func (r repository) image(t *testing.T, edit func(*imagespec.Manifest)) manifest {
	t.Helper()
	layer, _ := r.blob(t, 512)
	config := r.blobOf(t, typeConfig, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, layer.Digest))
	doc := imageOf(config, layer)
	if edit != nil {
		edit(&doc)
	}
	return encode(t, doc.MediaType, doc)
}

// artifact makes an artifact: an image manifest with an artifact type and the
// empty config (image-spec, "Guidelines for Artifact Usage").
func (r repository) artifact(t *testing.T, artifactType string, edit func(*imagespec.Manifest)) manifest {
	t.Helper()
	empty := r.blobOf(t, typeEmpty, []byte("{}"))
	return r.image(t, func(doc *imagespec.Manifest) {
		doc.ArtifactType = artifactType
		doc.Config = empty
		if edit != nil {
			edit(doc)
		}
	})
}

// index makes an image index.
func index(t *testing.T, edit func(*imagespec.Index), children ...manifest) manifest {
	t.Helper()
	doc := imagespec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: typeIndex,
		Manifests: []imagespec.Descriptor{},
	}
	for i, child := range children {
		d := child.Descriptor
		d.Platform = &imagespec.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i%2]}
		doc.Manifests = append(doc.Manifests, d)
	}
	if edit != nil {
		edit(&doc)
	}
	return encode(t, doc.MediaType, doc)
}

// wantManifest fails the test unless the manifest is served whole under the
// reference, to GET and to HEAD.
func (r repository) wantManifest(t *testing.T, reference string, m manifest) {
	t.Helper()
	target := r.at("manifests/%s", reference)
	got := r.get(t, target, "Accept", m.MediaType).want(t, http.StatusOK).wantBody(t, m.payload)
	head := r.head(t, target, "Accept", m.MediaType).want(t, http.StatusOK).wantBody(t, nil)
	for _, a := range []answer{got, head} {
		a.wantHeader(t, "Content-Type", m.MediaType)
		a.wantHeader(t, "Docker-Content-Digest", m.Digest.String())
		a.wantHeader(t, "Content-Length", fmt.Sprint(len(m.payload)))
	}
}

// wantBlob fails the test unless the blob is served whole, to GET and to HEAD.
func (r repository) wantBlob(t *testing.T, d digest.Digest, content []byte) {
	t.Helper()
	target := r.at("blobs/%s", d)
	got := r.get(t, target).want(t, http.StatusOK).wantBody(t, content)
	head := r.head(t, target).want(t, http.StatusOK).wantBody(t, nil)
	for _, a := range []answer{got, head} {
		a.wantHeader(t, "Docker-Content-Digest", d.String())
		a.wantHeader(t, "Content-Length", fmt.Sprint(len(content)))
	}
}

// wantNoManifest fails the test if there is something under the reference.
func (r repository) wantNoManifest(t *testing.T, reference string) {
	t.Helper()
	r.get(t, r.at("manifests/%s", reference)).want(t, http.StatusNotFound)
	r.head(t, r.at("manifests/%s", reference)).want(t, http.StatusNotFound)
}

// wantNoBlob fails the test if the repository has the blob.
func (r repository) wantNoBlob(t *testing.T, d digest.Digest) {
	t.Helper()
	r.get(t, r.at("blobs/%s", d)).want(t, http.StatusNotFound)
	r.head(t, r.at("blobs/%s", d)).want(t, http.StatusNotFound)
}

// layerOf is the digest of an image's first layer.
func layerOf(t *testing.T, m manifest) digest.Digest {
	t.Helper()
	var doc imagespec.Manifest
	if err := json.Unmarshal(m.payload, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Layers[0].Digest
}
