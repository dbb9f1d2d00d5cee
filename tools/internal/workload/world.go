// Package workload pushes, pulls, retags and deletes overlapping images from
// many clients at once, and tells from a ledger of all acknowledged writes what
// a read may answer and what must be there in the end (invariants I1 to I9).
package workload

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/berth-registry/berth/pkg/oci/ocitest"
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

// partSize is that of the parts in which a blob travels to S3; a larger blob has
// several.
const partSize = 16 << 20

// World is what the clients of one deployment share: the content they push and
// the ledger.
type World struct {
	seed   uint64
	large  int
	blobs  []ocitest.Content
	images []ocitest.Image

	ledger *ledger.Ledger // of tags, of blobs, and of manifests that are also deleted
	serial atomic.Int64

	mu    sync.Mutex
	sizes map[string]int64 // of blobs, by digest
}

// New makes what clients push from a seed. One of large blobs needs several
// parts of a multipart upload; 0 is none.
func New(seed uint64, large int) *World {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &World{
		seed: seed, large: large, sizes: map[string]int64{}, ledger: ledger.New(),
	}
	for i := range pooledBlobs {
		w.blobs = append(w.blobs, noise(rng, w.sizeOf(rng, i)))
	}
	for i := range pooledImages {
		layers := make([]ocitest.Content, 0, 4)
		for _, at := range rng.Perm(len(w.blobs))[:1+rng.IntN(4)] {
			layers = append(layers, w.blobs[at])
		}
		w.images = append(w.images, newImage(fmt.Sprintf("pooled %d", i), layers))
	}
	return w
}

// sizeOf makes a few blobs large enough to be cut in many places.
func (w *World) sizeOf(rng *rand.Rand, i int) int {
	switch {
	case i == 0:
		return 0
	case w.large > 0 && i%w.large == 1:
		return partSize + rng.IntN(4<<20)
	case i%8 == 0:
		return 1<<20 + rng.IntN(3<<20)
	default:
		return 2 + rng.IntN(64<<10)
	}
}

// image finds a pooled image by the digest of its manifest.
func (w *World) image(digest string) (ocitest.Image, bool) {
	for _, img := range w.images {
		if img.Manifest.Digest.String() == digest {
			return img, true
		}
	}
	return ocitest.Image{}, false
}

// Acknowledged is how many writes were answered with success.
func (w *World) Acknowledged() int { return w.ledger.Acknowledged() }

// Lost is how many writes have an unknown outcome.
func (w *World) Lost() int { return w.ledger.Lost() }

func repoName(i int) string { return fmt.Sprintf("kill/repo-%d", i) }
func tagName(i int) string  { return fmt.Sprintf("t%d", i) }
