package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/cacheroom"
	"github.com/berth-registry/berth/services/proxy/fetch"
	"github.com/berth-registry/berth/tools/testserver"
)

// sends is a source that sends content.
func sends(content []byte, size int64) fetch.Source {
	return func(_ context.Context, from int64) (fetch.Part, error) {
		return fetch.Part{Body: io.NopCloser(bytes.NewReader(content[min(from, int64(len(content))):])), From: from, Size: size}, nil
	}
}

// TestT43_WithoutRoomNothingIsStored: clients get their bytes, also where the size is known
// only at the end.
func TestT43_WithoutRoomNothingIsStored(t *testing.T) {
	w := newWorld(t)
	content := ocitest.Noise(300_000, 1)
	room := cacheroom.New(cacheroom.Config{Meta: w.Meta, Max: 500_000, Log: w.Log})
	for _, size := range []int64{int64(len(content)), -1} {
		f := w.node(func(c *fetch.Config) { c.Room = room })
		target := w.target(content)
		target.Size = size
		c, err := f.Open(t.Context(), target, sends(content, size))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		_ = c.Close()
		w.settle(f)
	}
	w.mustLack(content)
	if n := room.Counts(); n.Refused != 2 || n.Bytes != 2*int64(len(content)) {
		t.Errorf("counted %+v", n)
	}
	if _, err := room.Check(t.Context()); err == nil {
		t.Error("readiness says nothing")
	}
}

// TestT43_AFullDiskPassesThrough: there is no room for a temporary file either.
func TestT43_AFullDiskPassesThrough(t *testing.T) {
	w := newWorld(t)
	small := testserver.SmallDisk(t, "1m")
	for _, size := range []int{2 << 20, 2<<20 + 1} {
		content := ocitest.Noise(size, uint64(size))
		f := w.node(func(c *fetch.Config) { c.Dir = small })
		c, err := f.Open(t.Context(), w.target(content), sends(content, int64(size)))
		if err != nil {
			t.Fatal(err)
		}
		if c.Size() != int64(size) || !blob.WholeOnly(c) {
			t.Errorf("%d bytes, whole only: %t", c.Size(), blob.WholeOnly(c))
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		_ = c.Close()
		if f.Direct() != 1 {
			t.Errorf("%d were passed through", f.Direct())
		}
	}
}

// TestT43_WhatIsPassedThroughIsVerified: the last bytes come only once the digest of all
// was found right.
func TestT43_WhatIsPassedThroughIsVerified(t *testing.T) {
	w := newWorld(t)
	small := testserver.SmallDisk(t, "1m")
	right := ocitest.Noise(2<<20, 3)
	flipped := bytes.Clone(right)
	flipped[100] ^= 1
	for what, sent := range map[string][]byte{
		"another byte": flipped, "too short": right[:len(right)-1], "too long": append(bytes.Clone(right), 0), "nothing": nil,
	} {
		t.Run(what, func(t *testing.T) {
			f := w.node(func(c *fetch.Config) { c.Dir = small })
			c, err := f.Open(t.Context(), w.target(right), sends(sent, -1))
			if err == nil {
				var got []byte
				got, err = io.ReadAll(c)
				if len(got) > len(right)-held {
					t.Errorf("%d of %d bytes were given", len(got), len(right))
				}
				if !errors.Is(blob.ReadError(c), err) {
					t.Errorf("the content remembers %v, not %v", blob.ReadError(c), err)
				}
				_ = c.Close()
			}
			if fault.KindOf(err) != fault.BadUpstream {
				t.Errorf("%v", err)
			}
		})
	}
	if oci.DigestOf(oci.SHA256, right) == oci.DigestOf(oci.SHA256, flipped) {
		t.Error("the play did not happen")
	}
}
