package janitor

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// scrubChunk is how many bytes are read at a time.
const scrubChunk = 256 << 10

// examine returns what is wrong with a live object; "" for nothing. It looks twice before it says
// so. With whole it reads the bytes. An error says nothing about the object: the store is out.
func (s *Scrubber) examine(ctx context.Context, row meta.ObjectRow, whole bool, beat func(context.Context) error) (meta.Damage, error) {
	look := func() (meta.Damage, error) { return s.measure(ctx, row) }
	if whole {
		look = func() (meta.Damage, error) { return s.read(ctx, row, beat) }
	}
	damage, err := look()
	if damage == "" || err != nil {
		return "", err
	}
	return look()
}

// measure compares the size.
func (s *Scrubber) measure(ctx context.Context, row meta.ObjectRow) (meta.Damage, error) {
	size, err := s.Blobs.Stat(ctx, row.Key)
	switch {
	case err != nil:
		return damageOf(err)
	case size != row.Size:
		return meta.Rotten, nil
	}
	return "", nil
}

// read compares size and digest.
func (s *Scrubber) read(ctx context.Context, row meta.ObjectRow, beat func(context.Context) error) (meta.Damage, error) {
	want, err := oci.ParseDigest(row.Blob)
	if err != nil {
		return "", err
	}
	c, err := s.Blobs.Open(ctx, row.Key)
	if err != nil {
		return damageOf(err)
	}
	defer c.Close()
	if c.Size() != row.Size {
		return meta.Rotten, nil
	}
	h := oci.NewHasher(want.Algorithm())
	n, err := s.copySlowly(ctx, h, c, beat)
	switch {
	case err != nil:
		return damageOf(err)
	case n != row.Size || h.Digest() != want:
		return meta.Rotten, nil
	}
	return "", nil
}

// copySlowly copies within the rate, and calls beat meanwhile.
func (s *Scrubber) copySlowly(ctx context.Context, to io.Writer, from io.Reader, beat func(context.Context) error) (int64, error) {
	chunk, copied := make([]byte, scrubChunk), int64(0)
	for {
		n, err := from.Read(chunk)
		copied += int64(n)
		s.progress.bytes.Add(float64(n))
		if _, err := to.Write(chunk[:n]); err != nil {
			return copied, err
		}
		if errors.Is(err, io.EOF) {
			return copied, nil
		}
		if err == nil {
			err = s.limit.WaitN(ctx, n)
		}
		if err == nil {
			err = beat(ctx)
		}
		if err != nil {
			return copied, err
		}
	}
}

// damageOf is what an error of the store says about the object. EIO and EBADMSG are those of a
// disk that cannot read a part of a file.
func damageOf(err error) (meta.Damage, error) {
	switch {
	case errors.Is(err, blob.ErrMissing):
		return meta.Lost, nil
	case errors.Is(err, blob.ErrDamaged), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EBADMSG):
		return meta.Rotten, nil
	default:
		return "", err
	}
}
