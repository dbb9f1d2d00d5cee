package ocitest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-registry/berth/pkg/oci"
)

// Image is an image that clients can pull and unpack.
type Image struct {
	Index    Content // names Manifest
	Manifest Content
	Config   Content
	Layers   []Content // tar archives in gzip, which makes them no smaller
}

// NewImage makes an image with a layer for each size, which holds one file of
// so many random bytes. The same seed and sizes make the same image.
func NewImage(seed uint64, sizes ...int) Image {
	var img Image
	var diffs []oci.Digest
	for i, size := range sizes {
		files := archive(fmt.Sprintf("file-%d", i), Noise(size, seed<<8|uint64(i)))
		img.Layers = append(img.Layers, New(imagespec.MediaTypeImageLayerGzip, Gzip(files, gzip.NoCompression)))
		diffs = append(diffs, oci.DigestOf(oci.SHA256, files))
	}
	img.Config = New(imagespec.MediaTypeImageConfig, encode(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "author": fmt.Sprintf("seed %d", seed),
		"config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	}))
	img.Manifest = Manifest(img.Config, img.Layers...)
	img.Index = Index(img.Manifest)
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

// Gzip compresses at a level of package gzip.
func Gzip(content []byte, level int) []byte {
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
