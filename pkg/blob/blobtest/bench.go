package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
)

const benchBytes = 256 << 20

// Bench measures Append and Seal of one large blob, next to its two lower bounds:
// hashing, and a plain write with fsync to dir.
func Bench(b *testing.B, dir string, open Opener) {
	block := ocitest.Noise(1<<20, 9)
	b.Run("Append", func(b *testing.B) {
		store := open(b)
		b.SetBytes(benchBytes)
		for b.Loop() {
			s := newSession(b, store)
			if err := s.append(b.Context(), repeat(block, benchBytes)); err != nil {
				b.Fatal(err)
			}
			if _, err := store.Seal(b.Context(), s.stage); err != nil {
				b.Fatal(err)
			}
			remove(b, store, s.stage.Key)
		}
	})
	b.Run("AppendSmall", func(b *testing.B) {
		store := open(b)
		b.SetBytes(1 << 20)
		for b.Loop() {
			s := newSession(b, store)
			if err := s.append(b.Context(), bytes.NewReader(block)); err != nil {
				b.Fatal(err)
			}
			if _, err := store.Seal(b.Context(), s.stage); err != nil {
				b.Fatal(err)
			}
			remove(b, store, s.stage.Key)
		}
	})
	b.Run("SHA256Alone", func(b *testing.B) {
		b.SetBytes(benchBytes)
		for b.Loop() {
			if _, err := io.Copy(sha256.New(), repeat(block, benchBytes)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("WriteAlone", func(b *testing.B) {
		b.SetBytes(benchBytes)
		for b.Loop() {
			name := filepath.Join(dir, uuid.NewString())
			if err := writeAlone(name, repeat(block, benchBytes)); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := os.Remove(name); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

func remove(b *testing.B, store blob.Store, k blob.Key) {
	b.StopTimer()
	defer b.StartTimer()
	if err := store.Delete(context.Background(), k, ""); err != nil {
		b.Fatal(err)
	}
}

func writeAlone(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, 1<<20)); err != nil {
		return err
	}
	return f.Sync()
}

// repeat gives block again and again, n bytes in all.
func repeat(block []byte, n int64) io.Reader {
	return io.LimitReader(&repeating{block: block}, n)
}

type repeating struct {
	block []byte
	at    int
}

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}
