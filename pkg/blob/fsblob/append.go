package fsblob

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/internal/turns"
	"github.com/berth-registry/berth/pkg/fault"
)

const (
	// writebackBytes is how much is written before the kernel is asked to
	// start moving it to the disk.
	writebackBytes = 4 << 20

	// stepTimeout bounds a step of an Append whose caller may have gone away.
	stepTimeout = 20 * time.Second
)

// chunk is what the reading side hands to the writing side.
type chunk struct {
	buf   *buffer
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
	turn    *turns.Turn

	file    *os.File
	offset  int64 // bytes in the file
	counted int64 // bytes of them that the journal has
	flushed int64 // the writeback of the bytes before it has been started
	settled bool  // the file's name is durable

	reading atomic.Bool // the reading side may be waiting for the source
	held    int         // buffers this Append has taken
	chunks  chan chunk
	free    chan *buffer
	ended   chan struct{} // closed when the writing side has let go of the file
	err     error         // of the writing side; read it after ended
}

// Append stores what src gives (see blob.Appender).
func (s *Store) Append(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) error {
	if err := s.checkRoom(ctx, 0); err != nil {
		return err
	}
	turn, err := s.takeOver(ctx, st)
	if err != nil {
		return err
	}
	f, err := s.openStaged(ctx, st, src, j)
	if err != nil {
		turn.End()
		return err
	}
	a := &appending{
		store: s, journal: j, src: src, key: st.Key, turn: turn,
		file: f, offset: st.Offset, counted: st.Offset, flushed: st.Offset, settled: st.Offset > 0,
		chunks: make(chan chunk, bufferCount),
		free:   make(chan *buffer, bufferCount),
		ended:  make(chan struct{}),
	}
	a.reading.Store(true)
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
		// Return the outage: a read that Interrupt ended would blame the
		// client.
		return errors.Join(a.err, readErr)
	}
}

// read hands the source's bytes over until it ends, and returns its error.
func (a *appending) read(ctx context.Context) error {
	var since int64
	for {
		c := chunk{buf: a.take()}
		if c.buf == nil {
			return nil
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

// write is the writing side. When it cannot continue it interrupts the source, so
// that the reading side does not wait for a client whose bytes are no longer needed.
func (a *appending) write(ctx context.Context) {
	a.err = a.writeChunks(ctx)
	if fault.KindOf(a.err) == fault.Full {
		// In any case, unrecorded bytes are freed, so that there is room to record the
		// end of the upload.
		_ = a.file.Truncate(a.counted)
	}
	if err := a.file.Close(); err != nil && a.err == nil {
		a.err = down(err, "close a staged object")
	}
	a.turn.End()
	if i, ok := a.src.(blob.Interrupter); ok && a.err != nil && a.reading.Load() {
		i.Interrupt()
	}
	close(a.ended)
}

func (a *appending) writeChunks(ctx context.Context) error {
	for {
		select {
		case <-a.turn.Fenced():
			return blob.ErrFenced
		case c, more := <-a.chunks:
			switch {
			case !more:
				return nil
			case a.turn.IsFenced():
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
		return written(err, "write a staged object")
	}
	a.offset += int64(c.n)
	if n := a.offset - a.flushed; n >= writebackBytes {
		if err := a.store.checkRoom(ctx, writebackBytes); err != nil {
			return err
		}
		startWriteback(a.file, a.flushed, n)
		a.flushed = a.offset
	}
	if !c.step {
		return nil
	}
	if err := a.store.tree.flush(a.file); err != nil {
		return written(err, "flush a staged object")
	}
	if !a.settled {
		if err := a.store.tree.settle(a.key); err != nil {
			return written(err, "flush the directory of a staged object")
		}
		a.settled = true
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := a.journal.Step(ctx, blob.Progress{Offset: a.offset, State: c.state}); err != nil {
		return err
	}
	a.counted = a.offset
	return nil
}
