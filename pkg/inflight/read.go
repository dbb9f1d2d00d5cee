package inflight

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/berth-registry/berth/pkg/blob"
)

// Open returns a reader of its own, from the first byte; the caller closes it.
// Its Read waits until there are bytes, and fails once ctx has ended or the
// stream has failed.
//
// Where the size is unknown or 0, no last bytes could be held back from a reader;
// there Open waits for the end of the stream. If the stream fails, or ctx ends
// first, Size is -1, and Seek and Read fail.
//
// A range that does not reach to the end has no last bytes to hold back: before
// serving one, wait for Done.
func (s *Stream) Open(ctx context.Context) blob.Content {
	r := &reader{ctx: ctx, stream: s, size: s.size}
	if r.closed = !s.enter(); r.closed {
		r.size, r.failed = -1, os.ErrClosed
		return r
	}
	if s.size <= 0 {
		if r.size, r.failed = s.total(ctx); r.failed != nil {
			r.size = -1
		}
	}
	return r
}

// total waits for the end and returns the size that was found right.
func (s *Stream) total(ctx context.Context) (int64, error) {
	select {
	case <-s.done:
		return s.Written(), s.Err()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Source returns the bytes for storing them while they arrive: also
// those held back, and io.EOF only after Finish found them right. The owner
// keeps the stream until it was read.
func (s *Stream) Source(ctx context.Context) io.Reader { return &source{ctx: ctx, stream: s} }

type source struct {
	ctx    context.Context // of Source: an io.Reader has none
	stream *Stream
	at     int64
}

// Read waits for bytes.
func (r *source) Read(p []byte) (int, error) {
	n, err := r.stream.readAt(r.ctx, p, r.at, true)
	r.at += int64(n)
	return n, err
}

// reader is for one goroutine.
type reader struct {
	ctx    context.Context // of Open: an io.Reader has none
	stream *Stream
	size   int64 // -1 where the stream failed before it was known
	at     int64 // of the next Read
	failed error // what the last Read failed with
	closed bool
}

// Size is the blob's length in bytes; see Open for -1.
func (r *reader) Size() int64 { return r.size }

// ReadError is what the last Read failed with (see blob.ReadError), or Open.
func (r *reader) ReadError() error { return r.failed }

// Read waits for bytes.
func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.closed:
		r.failed = os.ErrClosed
		return 0, r.failed
	case r.size < 0:
		return 0, r.failed
	case len(p) == 0:
		return 0, nil
	}
	n, err := r.stream.readAt(r.ctx, p, r.at, false)
	r.at += int64(n)
	r.failed = nil
	if !errors.Is(err, io.EOF) {
		r.failed = err
	}
	return n, err
}

// Seek waits for nothing.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	switch {
	case r.size < 0:
		return 0, r.failed
	case offset < 0:
		return r.at, errors.New("inflight: seek before the start")
	}
	r.at = offset
	return offset, nil
}

// Close lets the file go if this was its last user. It can be called again.
func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.stream.leave()
	}
	return nil
}
