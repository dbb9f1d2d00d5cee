package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/berth-registry/berth/pkg/oci"
)

// content is something that is pushed. Its bytes are made again from its seed
// rather than kept.
type content struct {
	digest string
	size   int64
	bytes  func() []byte
}

func literal(b []byte) content {
	return content{digestOf(b), int64(len(b)), func() []byte { return b }}
}

// noise is content that nothing else has.
func noise(seed uint64, size int) content {
	generate := func() []byte {
		b := make([]byte, size)
		var key [32]byte
		for i := range 8 {
			key[i] = byte(seed >> (8 * i))
		}
		_, _ = rand.NewChaCha8(key).Read(b) // never fails
		return b
	}
	return content{digestOf(generate()), int64(size), generate}
}

func digestOf(b []byte) string { return oci.DigestOf(oci.SHA256, b).String() }

// image is a manifest and the blobs it names, the config first.
type image struct {
	manifest content
	blobs    []content
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// newImage makes an image of layers that is unlike any other by its name. A
// subject may be nil.
func newImage(name string, subject *descriptor, layers ...content) image {
	config := literal(fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "author": %q}`, name))
	m := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
		Subject       *descriptor  `json:"subject,omitempty"`
	}{2, oci.MediaTypeImageManifest, descriptor{"application/vnd.oci.image.config.v1+json", config.digest, config.size}, nil, subject}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{"application/vnd.oci.image.layer.v1.tar", l.digest, l.size})
	}
	return image{encoded(m), append([]content{config}, layers...)}
}

// newIndex makes an index of images.
func newIndex(name string, images ...image) content {
	index := struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []descriptor      `json:"manifests"`
		Annotations   map[string]string `json:"annotations"`
	}{2, oci.MediaTypeImageIndex, nil, map[string]string{"name": name}}
	for _, i := range images {
		index.Manifests = append(index.Manifests, i.descriptor())
	}
	return encoded(index)
}

func (i image) descriptor() descriptor {
	return descriptor{oci.MediaTypeImageManifest, i.manifest.digest, i.manifest.size}
}

func encoded(v any) content {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return literal(b)
}
