package blobtest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

// smallSizes are chunk sizes around the limits that most stores have.
var smallSizes = []int{0, 1, 2, 511, 512, 513, 4095, 4096, 64<<10 - 1, 64 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20}

// testChunkPlans pushes blobs in chunks of odd sizes, some of which break off
// or are not recorded and are sent again from the recorded offset.
func (scale Scale) testChunkPlans(t *testing.T, store blob.Store) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 55))
	for range dice.Count(t, scale.Plans, 10_000) {
		scale.playPlan(t, store, r)
	}
}

func (scale Scale) playPlan(t *testing.T, store blob.Store, r *rand.Rand) {
	want := ocitest.Noise(r.IntN(2*scale.Unit), r.Uint64())
	s := newSession(t, store)
	gone := errors.New("client is gone")
	for s.offset() < int64(len(want)) {
		rest := want[s.offset():]
		chunk := rest[:min(len(rest), scale.Sizes[r.IntN(len(scale.Sizes))])]
		var body io.Reader = bytes.NewReader(chunk)
		var expected error
		switch r.IntN(6) {
		case 0:
			body, expected = io.MultiReader(body, failing{gone}), gone
		case 1:
			s.fail, expected = gone, gone
		}
		if err := s.append(t.Context(), body); !errors.Is(err, expected) {
			t.Fatalf("append of %d bytes: %v, want %v", len(chunk), err, expected)
		}
		s.fail = nil
	}
	s.mustSeal(want)
}
