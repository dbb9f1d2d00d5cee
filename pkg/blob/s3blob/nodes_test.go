package s3blob_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// Chunks of odd sizes, each to whatever node: every push ends with the same
// bytes, also where it was read back in between.
func TestR55_ChunksToAnyNode(t *testing.T) {
	t.Parallel()
	address := testserver.S3(t)
	var nodes [3]*s3blob.Store
	for i := range nodes {
		nodes[i] = open(t, address, s3blob.Options{PartBytes: partBytes})
	}
	r := rand.New(rand.NewPCG(dice.Seed(t), 55))
	content := ocitest.Noise(3*partBytes+1, 55)
	sizes := []int{0, 1, 17, 1 << 20, partBytes - 1, partBytes, partBytes + 1, 2 * partBytes}
	for range dice.Count(t, 4, 400) {
		want := content[:r.IntN(len(content))]
		x := newSession(t, nodes[0])
		for x.stage.Offset < int64(len(want)) {
			x.store = nodes[r.IntN(len(nodes))]
			rest := want[x.stage.Offset:]
			x.mustAppend(rest[:min(len(rest), sizes[r.IntN(len(sizes))])])
			if r.IntN(8) == 0 {
				x.store = nodes[r.IntN(len(nodes))]
				x.mustReadBack(want[:x.stage.Offset])
			}
		}
		x.store = nodes[r.IntN(len(nodes))]
		x.mustSeal(want)
		if err := x.discard(); err != nil {
			t.Error(err)
		}
	}
}

// mustReadBack expects the staged bytes to be exactly want.
func (s *session) mustReadBack(want []byte) {
	s.t.Helper()
	c, err := s.store.OpenStaged(s.t.Context(), s.stage)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		s.t.Errorf("read back: %d bytes, %v; want %d, equal", len(got), err, len(want))
	}
	if err := c.Close(); err != nil {
		s.t.Error(err)
	}
}
