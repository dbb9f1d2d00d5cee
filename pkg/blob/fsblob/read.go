package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/berth-registry/berth/pkg/blob"
)

var errNoFile = errors.New("not a regular file")

// content is an open object. The embedded file makes it a syscall.Conn, which
// is what net asks for before it uses sendfile.
type content struct {
	*os.File
	size int64
	open *atomic.Int32 // of the readers of the object
}

// Close ends the reading.
func (c content) Close() error {
	err := c.File.Close()
	if !errors.Is(err, fs.ErrClosed) {
		c.open.Add(-1)
	}
	return err
}

// readers count the open contents. Objects share counters, so that opening one takes no
// lock: Delete may find an object in use that only shares its counter.
type readers [1 << 12]atomic.Int32

func (r *readers) of(k blob.Key) *atomic.Int32 {
	last := len(k.Incarnation) - 1 // these bytes are random in every version of a UUID
	return &r[(int(k.Incarnation[last-1])<<8|int(k.Incarnation[last]))%len(r)]
}

// Size is the length of the file when it was opened.
func (c content) Size() int64 { return c.size }

// Open opens the object for reading (see blob.Opener).
func (s *Store) Open(ctx context.Context, k blob.Key) (blob.Content, error) {
	f, err := s.tree.open(k, os.O_RDONLY)
	if err != nil {
		return nil, s.absentOr(ctx, err, "open an object")
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, errors.Join(down(err, "examine an object"), f.Close())
	}
	open := s.readers.of(k)
	open.Add(1)
	return content{File: f, size: info.Size(), open: open}, nil
}

// OpenStaged opens the staged file, which may be longer than what counts of it
// (see blob.Appender).
func (s *Store) OpenStaged(ctx context.Context, st blob.Stage) (io.ReadCloser, error) {
	c, err := s.Open(ctx, st.Key)
	if err != nil {
		return nil, err
	}
	if c.Size() < st.Offset {
		return nil, errors.Join(fmt.Errorf("fsblob: read %d of %d bytes back: %w", st.Offset, c.Size(), blob.ErrMissing), c.Close())
	}
	return c, nil
}

// Stat returns the object's size in bytes (see blob.Opener).
func (s *Store) Stat(ctx context.Context, k blob.Key) (int64, error) {
	info, err := s.tree.root.Lstat(pathOf(k))
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return 0, s.absentOr(ctx, err, "examine an object")
	}
	return info.Size(), nil
}

// absentOr distinguishes absence from failure.
func (s *Store) absentOr(ctx context.Context, err error, doing string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return s.absent(ctx, doing)
	}
	return down(err, doing)
}
