package fsblob_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/blobtest"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
)

// open opens the store in dir until the end of the test.
func open(t testing.TB, dir string, o fsblob.Options) *fsblob.Store {
	t.Helper()
	s, err := fsblob.Open(dir, o)
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
	blobtest.Run(t, func(t testing.TB) blob.Store { return open(t, t.TempDir(), fsblob.Options{StepBytes: 300 << 10}) })
}

func BenchmarkStore(b *testing.B) {
	blobtest.Bench(b, b.TempDir(), func(b testing.TB) blob.Store { return open(b, b.TempDir(), fsblob.Options{}) })
}

// memory is a source in memory whose progress no one records.
type memory struct{ bytes.Reader }

func (*memory) Mark() ([]byte, error)                     { return nil, nil }
func (*memory) Intend(context.Context, blob.Key) error    { return nil }
func (*memory) Multipart(context.Context, string) error   { return nil }
func (*memory) Step(context.Context, blob.Progress) error { return nil }

// recorder is a memory source whose progress is recorded.
type recorder struct {
	memory
	offset int64
}

func (r *recorder) Step(_ context.Context, p blob.Progress) error {
	r.offset = p.Offset
	return nil
}
