package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/tools/internal/ledger"
)

// How much there is to push. Few repositories, tags and blobs: clients must
// meet.
const (
	repositories = 4
	tags         = 6
	pooledBlobs  = 48
	pooledImages = 32
)

type content struct {
	digest string
	bytes  []byte
}

func contentOf(b []byte) content { return content{oci.DigestOf(oci.SHA256, b).String(), b} }

// An image is a manifest and what it references.
type image struct {
	manifest content
	blobs    []content // config first
}

// world is what clients share: the content they push and the ledgers.
type world struct {
	blobs   []content
	images  []image
	byTag   *ledger.Ledger // "repo:tag" -> digest of the manifest, "" for none
	byImage *ledger.Ledger // "repo@digest" of manifests that are also deleted -> digest or ""
	pushed  *ledger.Ledger // "repo@digest" of blobs
	serial  atomic.Int64
}

func newWorld(rng *rand.Rand) *world {
	w := &world{byTag: ledger.New(), byImage: ledger.New(), pushed: ledger.New()}
	for i := range pooledBlobs {
		w.blobs = append(w.blobs, randomBlob(rng, sizeOf(rng, i)))
	}
	for i := range pooledImages {
		layers := make([]content, 0, 4)
		for _, at := range rng.Perm(len(w.blobs))[:1+rng.IntN(4)] {
			layers = append(layers, w.blobs[at])
		}
		w.images = append(w.images, newImage(fmt.Sprintf("pooled %d", i), layers))
	}
	return w
}

// sizeOf makes a few blobs large enough to be cut in many places.
func sizeOf(rng *rand.Rand, i int) int {
	switch {
	case i == 0:
		return 0
	case i%8 == 0:
		return 1<<20 + rng.IntN(3<<20)
	default:
		return 2 + rng.IntN(64<<10)
	}
}

func randomBlob(rng *rand.Rand, size int) content {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return contentOf(b)
}

func newImage(name string, layers []content) image {
	config := contentOf(fmt.Appendf(nil, `{"architecture": "amd64", "os": "linux", "author": %q}`, name))
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	m := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{2, oci.MediaTypeImageManifest, descriptor{"application/vnd.oci.image.config.v1+json", config.digest, len(config.bytes)}, nil}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{"application/vnd.oci.image.layer.v1.tar", l.digest, len(l.bytes)})
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return image{contentOf(b), append([]content{config}, layers...)}
}

// image finds a pooled image by the digest of its manifest.
func (w *world) image(digest string) (image, bool) {
	for _, img := range w.images {
		if img.manifest.digest == digest {
			return img, true
		}
	}
	return image{}, false
}

func (w *world) acknowledged() int {
	return w.byTag.Acknowledged() + w.byImage.Acknowledged() + w.pushed.Acknowledged()
}

func (w *world) lost() int { return w.byTag.Lost() + w.byImage.Lost() + w.pushed.Lost() }

func repoName(i int) string { return fmt.Sprintf("kill/repo-%d", i) }
func tagName(i int) string  { return fmt.Sprintf("t%d", i) }
