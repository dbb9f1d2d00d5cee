package testserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/oci"
)

// Content is a manifest or a blob.
type Content struct {
	MediaType string
	Digest    oci.Digest
	Bytes     []byte
}

// ContentOf is content with its SHA-256 digest.
func ContentOf(mediaType string, b []byte) Content {
	return Content{MediaType: mediaType, Digest: oci.DigestOf(oci.SHA256, b), Bytes: b}
}

func (c Content) descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: c.MediaType, Digest: c.Digest, Size: int64(len(c.Bytes))}
}

// Image is an image that clients can pull and unpack.
type Image struct {
	Index    Content // names Manifest for linux/amd64
	Manifest Content
	Config   Content
	Layers   []Content // tar archives in gzip, which makes them no smaller
}

// NewImage makes an image with a layer for each size, which holds one file of
// so many random bytes. The same seed and sizes make the same image.
func NewImage(seed uint64, sizes ...int) Image {
	play := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	var img Image
	var diffs []oci.Digest
	layers := []oci.Descriptor{} // never null
	for i, size := range sizes {
		content := make([]byte, size)
		_, _ = play.Read(content) // it never fails
		files := archive(fmt.Sprintf("file-%d", i), content)
		layer := ContentOf(imagespec.MediaTypeImageLayerGzip, zip(files, gzip.NoCompression))
		img.Layers = append(img.Layers, layer)
		layers, diffs = append(layers, layer.descriptor()), append(diffs, oci.DigestOf(oci.SHA256, files))
	}
	img.Config = ContentOf(imagespec.MediaTypeImageConfig, encode(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "author": fmt.Sprintf("seed %d", seed),
		"config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	}))
	img.Manifest = ContentOf(imagespec.MediaTypeImageManifest, encode(map[string]any{
		"schemaVersion": 2, "mediaType": imagespec.MediaTypeImageManifest, "config": img.Config.descriptor(), "layers": layers,
	}))
	img.Index = ContentOf(imagespec.MediaTypeImageIndex, encode(map[string]any{
		"schemaVersion": 2, "mediaType": imagespec.MediaTypeImageIndex,
		"manifests": []any{map[string]any{
			"mediaType": img.Manifest.MediaType, "digest": img.Manifest.Digest, "size": len(img.Manifest.Bytes),
			"platform": map[string]any{"architecture": "amd64", "os": "linux"},
		}},
	}))
	return img
}

// Blobs are the config and the layers.
func (img Image) Blobs() []Content { return append([]Content{img.Config}, img.Layers...) }

// archive is a tar archive of one file.
func archive(name string, content []byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer has no error of its own
	}
	return b.Bytes()
}

// zip compresses at a level of package gzip.
func zip(content []byte, level int) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer has no error of its own, and the level is right
	}
	return b.Bytes()
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only of what is written above
	}
	return b
}
