package inflight

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
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

// Write takes the next bytes of the source. More than the stream's size is
// fault.SizeInvalid, of kind BadUpstream, and nothing of p is taken then. A file
// that cannot be written is fault.Unavailable. Neither ends the stream: readers
// continue with what is there until the owner has decided. After Fail it returns
// what the stream failed with.
func (s *Stream) Write(p []byte) (int, error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	skipped := int(min(s.skip, int64(len(p))))
	fresh := p[skipped:]
	at := s.hash.Size()
	if s.size >= 0 && int64(len(fresh)) > s.size-at {
		return 0, fault.New(fault.BadUpstream, fault.SizeInvalid, "the content that came has more than its %d bytes", s.size)
	}
	s.skip -= int64(skipped)
	n, err := s.file.WriteAt(fresh, at)
	if n > 0 {
		_, _ = s.hash.Write(fresh[:n]) // it never fails
		s.held(int64(n))
		s.advance(s.hash.Size())
	}
	if err != nil {
		return skipped + n, down(err)
	}
	return len(p), nil
}

func (s *Stream) advance(written int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.written = written
		s.wake()
	}
}

// Resume continues with a new source, the one before having died: what is written
// next is byte from, at most Written. Bytes that were written already are skipped,
// since readers may have sent them: it is those that Finish proves.
func (s *Stream) Resume(from int64) { s.skip = max(s.hash.Size()-from, 0) }

// Finish ends the stream: the source has ended. Where the digest of what was
// written is right, readers get the bytes held back. Else the stream fails, with
// what Finish returns: fault.SizeInvalid for less than the stream's size,
// fault.DigestInvalid for another digest, both of kind BadUpstream. To continue with
// another source after a short one, call Resume instead.
func (s *Stream) Finish() error { return s.end(s.verify()) }

func (s *Stream) verify() error {
	if n := s.hash.Size(); s.size >= 0 && n != s.size {
		return fault.New(fault.BadUpstream, fault.SizeInvalid, "the content that came has %d bytes, not %d", n, s.size)
	}
	if got := s.hash.Digest(); got != s.digest {
		return fault.New(fault.BadUpstream, fault.DigestInvalid, "the content that came has the digest %s, not %s", got, s.digest)
	}
	return nil
}
