// Package ocitest makes blobs, manifests and images for tests and tools.
package ocitest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/oci"
)

// Content is a blob or a manifest, and the descriptor that leads to it.
type Content struct {
	oci.Descriptor
	Bytes []byte
}

// New is content with its SHA-256 digest.
func New(mediaType string, b []byte) Content {
	return Content{oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(oci.SHA256, b), Size: int64(len(b))}, b}
}

// Config is the config of an image, of any bytes.
func Config(b []byte) Content { return New(imagespec.MediaTypeImageConfig, b) }

// ConfigBy is a config that is unlike any other by its author.
func ConfigBy(author string) Content {
	return Config(encode(map[string]string{"architecture": "amd64", "os": "linux", "author": author}))
}

// Empty is the config of what is no image (image-spec, "Guidelines for Artifact
// Usage").
func Empty() Content { return New(imagespec.MediaTypeEmptyJSON, []byte("{}")) }

// Layer is a layer of any bytes, which need not be an archive.
func Layer(b []byte) Content { return New(imagespec.MediaTypeImageLayer, b) }

// Noise is bytes that repeat nowhere; the same seed makes the same bytes.
func Noise(size int, seed uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// Manifest is an image manifest of a config and layers.
func Manifest(config Content, layers ...Content) Content { return Extra{}.Manifest(config, layers...) }

// Index is an image index of manifests, each for linux/amd64.
func Index(manifests ...Content) Content { return Extra{}.Index(manifests...) }

// Extra are the members of a manifest that most manifests lack.
type Extra struct {
	ArtifactType string            `json:"artifactType,omitempty"`
	Subject      *oci.Descriptor   `json:"subject,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// head is how every manifest begins.
type head struct {
	SchemaVersion int    `json:"schemaVersion"`
	MediaType     string `json:"mediaType"`
}

// Manifest is an image manifest with the extra members.
func (e Extra) Manifest(config Content, layers ...Content) Content {
	list := []oci.Descriptor{} // never null
	for _, l := range layers {
		list = append(list, l.Descriptor)
	}
	return New(imagespec.MediaTypeImageManifest, encode(struct {
		head
		Config oci.Descriptor   `json:"config"`
		Layers []oci.Descriptor `json:"layers"`
		Extra
	}{head{2, imagespec.MediaTypeImageManifest}, config.Descriptor, list, e}))
}

// Index is an image index with the extra members.
func (e Extra) Index(manifests ...Content) Content {
	type entry struct {
		oci.Descriptor
		Platform imagespec.Platform `json:"platform"`
	}
	list := []entry{} // never null
	for _, m := range manifests {
		list = append(list, entry{m.Descriptor, imagespec.Platform{Architecture: "amd64", OS: "linux"}})
	}
	return New(imagespec.MediaTypeImageIndex, encode(struct {
		head
		Manifests []entry `json:"manifests"`
		Extra
	}{head{2, imagespec.MediaTypeImageIndex}, list, e}))
}

// encode writes JSON without the escapes for HTML, as clients of registries do.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // only of what is written above
	}
	return bytes.TrimSpace(b.Bytes())
}
