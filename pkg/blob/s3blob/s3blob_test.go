package s3blob_test

import (
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/blobtest"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/tools/testserver"
)

// partBytes is the least that S3 takes.
const partBytes = 5 << 20

func open(t testing.TB, address string, o s3blob.Options) *s3blob.Store {
	t.Helper()
	s, err := s3blob.Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	scale := blobtest.Scale{Unit: 1 << 20, Plans: 8, Sizes: []int{0, 1, 512, 4095, 64 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20}}
	blobtest.RunAt(t, scale, func(t testing.TB) blob.Store {
		return open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	})
}

// The same with parts: every border of the suite lies past one.
func TestStoreOfParts(t *testing.T) {
	t.Parallel()
	scale := blobtest.Scale{
		Unit:  8 << 20,
		Plans: 12,
		Sizes: []int{0, 1, 1 << 20, partBytes - 1, partBytes, partBytes + 1, 2*partBytes - 1, 2 * partBytes, 3*partBytes + 1},
	}
	blobtest.RunAt(t, scale, func(t testing.TB) blob.Store {
		return open(t, testserver.S3(t), s3blob.Options{PartBytes: partBytes})
	})
}

func BenchmarkStore(b *testing.B) {
	blobtest.Bench(b, b.TempDir(), func(b testing.TB) blob.Store { return open(b, testserver.S3(b), s3blob.Options{}) })
}
