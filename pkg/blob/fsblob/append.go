package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
)

const (
	// An Append holds at most bufferCount buffers: one is written while the
	// next ones are read and hashed.
	bufferSize  = 256 << 10
	bufferCount = 3

	// writebackBytes is how much is written before the kernel is asked to
	// start moving it to the disk.
	writebackBytes = 4 << 20

	// stepTimeout bounds a step of an Append whose caller may have gone away.
	stepTimeout = 20 * time.Second
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// chunk is what the reading side hands to the writing side.
type chunk struct {
	buf   *[bufferSize]byte
	n     int
	step  bool   // the bytes up to here are to be made durable and recorded
	state []byte // of the source after this chunk, when step is set
}

// appending is one Append at work: the caller's goroutine reads and hashes, a
// second one owns the file.
type appending struct {
	store   *Store
	journal blob.Journal
	src     blob.Source
	key     blob.Key
	owner   *writer

	file    *os.File
	offset  int64 // bytes in the file
	flushed int64 // the writeback of the bytes before it has been started
	settled bool  // the file's name is durable

	reading atomic.Bool // the reading side may be waiting for the source
	chunks  chan chunk
	free    chan *[bufferSize]byte
	ended   chan struct{} // closed when the writing side has let go of the file
	err     error         // of the writing side; read it after ended
}

// Append stores what src gives (see blob.Appender).
func (s *Store) Append(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) error {
	owner, err := s.takeOver(ctx, st)
	if err != nil {
		return err
	}
	f, err := s.openStaged(ctx, st, src, j)
	if err != nil {
		s.release(st.Key, owner)
		return err
	}
	a := &appending{
		store: s, journal: j, src: src, key: st.Key, owner: owner,
		file: f, offset: st.Offset, flushed: st.Offset, settled: st.Offset > 0,
		chunks: make(chan chunk, bufferCount),
		free:   make(chan *[bufferSize]byte, bufferCount),
		ended:  make(chan struct{}),
	}
	a.reading.Store(true)
	for range bufferCount {
		a.free <- nil // allocated when it is needed: small blobs need one
	}
	go a.write(context.WithoutCancel(ctx))
	readErr := a.read(ctx)
	a.reading.Store(false)
	close(a.chunks)
	<-a.ended
	a.recycle()
	switch {
	case a.err == nil:
		return readErr
	case readErr == nil, errors.Is(a.err, blob.ErrFenced):
		return a.err
	default:
		return errors.Join(readErr, a.err)
	}
}

// openStaged opens the file to be continued at st.Offset. Bytes past it were
// never recorded and are cut off, but only by a writer that still owns the
// session: to a late one they may be the acknowledged bytes of its successor.
func (s *Store) openStaged(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) (*os.File, error) {
	flag := os.O_RDWR
	if st.Offset == 0 {
		flag |= os.O_CREATE
	}
	f, err := s.tree.open(st.Key, flag)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("fsblob: continue at %d: %w", st.Offset, blob.ErrMissing)
	case errors.Is(err, fs.ErrPermission) && s.isSealed(st.Key):
		return nil, blob.ErrFenced
	case err != nil:
		return nil, down(err, "open a staged object")
	}
	if err := s.cutToOffset(ctx, f, st, src, j); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *Store) cutToOffset(ctx context.Context, f *os.File, st blob.Stage, src blob.Source, j blob.Journal) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return down(err, "examine a staged object")
	case sealed(info):
		return blob.ErrFenced
	case info.Size() < st.Offset:
		return fmt.Errorf("fsblob: continue at %d of %d bytes: %w", st.Offset, info.Size(), blob.ErrMissing)
	case info.Size() == st.Offset:
		return seekTo(f, st.Offset)
	}
	state, err := src.Mark()
	if err != nil {
		return err
	}
	if err := j.Step(ctx, blob.Progress{Offset: st.Offset, State: state}); err != nil {
		return err
	}
	if err := f.Truncate(st.Offset); err != nil {
		return down(err, "cut a staged object")
	}
	return seekTo(f, st.Offset)
}

func seekTo(f *os.File, offset int64) error {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return down(err, "continue a staged object")
	}
	return nil
}

// read hands the source's bytes over until it ends, and returns its error.
func (a *appending) read(ctx context.Context) error {
	var since int64
	for {
		var c chunk
		select {
		case c.buf = <-a.free:
		case <-a.ended:
			return nil
		}
		if c.buf == nil {
			c.buf = buffers.Get().(*[bufferSize]byte)
		}
		var readErr error
		c.n, readErr = a.fill(ctx, c.buf[:])
		since += int64(c.n)
		if readErr != nil || since >= a.store.stepBytes {
			state, err := a.src.Mark()
			if err != nil {
				return errors.Join(readErr, err)
			}
			c.step, c.state, since = true, state, 0
		}
		select {
		case a.chunks <- c:
		case <-a.ended:
			return nil
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return readErr
		}
	}
}

// fill reads until b is full, the source ends, ctx does or the writing side has.
func (a *appending) fill(ctx context.Context, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		select {
		case <-a.ended:
			return n, nil
		case <-ctx.Done():
			return n, context.Cause(ctx)
		default:
		}
		m, err := a.src.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// write is the writing side. When it cannot go on it interrupts the source, so
// that the reading side does not wait for a client whose bytes nobody wants.
func (a *appending) write(ctx context.Context) {
	a.err = a.writeChunks(ctx)
	if err := a.file.Close(); err != nil && a.err == nil {
		a.err = down(err, "close a staged object")
	}
	a.store.release(a.key, a.owner)
	if i, ok := a.src.(blob.Interrupter); ok && a.err != nil && a.reading.Load() {
		i.Interrupt()
	}
	close(a.ended)
}

func (a *appending) writeChunks(ctx context.Context) error {
	for {
		select {
		case <-a.owner.fenced:
			return blob.ErrFenced
		case c, more := <-a.chunks:
			switch {
			case !more:
				return nil
			case a.owner.lost():
				return blob.ErrFenced
			}
			if err := a.put(ctx, c); err != nil {
				return err
			}
			a.free <- c.buf
		}
	}
}

// put writes one chunk and, where the chunk ends a step, makes all bytes up to
// here durable and records them: file, then name, then row (fault R36).
func (a *appending) put(ctx context.Context, c chunk) error {
	if _, err := a.file.Write(c.buf[:c.n]); err != nil {
		return down(err, "write a staged object")
	}
	a.offset += int64(c.n)
	if n := a.offset - a.flushed; n >= writebackBytes {
		startWriteback(a.file, a.flushed, n)
		a.flushed = a.offset
	}
	if !c.step {
		return nil
	}
	if err := a.store.tree.flush(a.file); err != nil {
		return down(err, "flush a staged object")
	}
	if !a.settled {
		if err := a.store.tree.settle(a.key); err != nil {
			return down(err, "flush the directory of a staged object")
		}
		a.settled = true
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return a.journal.Step(ctx, blob.Progress{Offset: a.offset, State: c.state})
}

// recycle gives the buffers back for other uploads.
func (a *appending) recycle() {
	close(a.free)
	for b := range a.free {
		if b != nil {
			buffers.Put(b)
		}
	}
}
