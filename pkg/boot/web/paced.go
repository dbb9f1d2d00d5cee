package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/pause"
)

// sendChunk is how much of a file is sent between checks of the clock: sendfile
// reports nothing before it is done, and a whole blob may take hours.
const sendChunk = 1 << 20

// passed is how much of a source other than a file is sent at a time.
const passed = 32 << 10

type pacedBody struct {
	io.ReadCloser
	*clock
	set   func(time.Time) error // the connection's deadline for reading
	armed bool
	atEnd bool
}

// arm bounds what net/http reads of a body that no handler has read, before it
// writes an answer.
func (b *pacedBody) arm(limit time.Duration) {
	b.armed = b.set(time.Now().Add(limit)) == nil
}

// Read fails with a *fault.Error of kind TooSlow when the client was too slow; the
// connection is then unusable.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.atEnd {
		return b.ReadCloser.Read(p)
	}
	if b.armed {
		b.armed = false
		_ = b.set(time.Time{})
	}
	if err := b.start(0); err != nil {
		return 0, slowBody(err)
	}
	n, err := b.ReadCloser.Read(p)
	over := b.stop(int64(n))
	switch {
	case err == nil:
	case over != nil:
		err = slowBody(errors.Join(over, err))
	case errors.Is(err, io.EOF):
		b.atEnd = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = slowBody(err) // ended by another goroutine, such as that of a later request for the session
	}
	return n, err
}

type pacedWriter struct {
	http.ResponseWriter
	*clock
	request *pacing
	ctx     context.Context //nolint:containedctx // the request's, as the response is
	http2   bool
}

// done ends the wait for n bytes. More bytes wait while there are too many (OnSent).
func (w *pacedWriter) done(n int64, err error) {
	_ = w.stop(n)
	w.request.broken = w.request.broken || err != nil
	if w.request.sent == nil {
		return
	}
	if wait := w.request.sent(n); wait > 0 {
		_ = pause.For(w.ctx, wait) // what is sent to a client that left fails by itself
	}
}

// Write waits until the client, or the system on its behalf, has taken p.
func (w *pacedWriter) Write(p []byte) (int, error) {
	if err := w.start(int64(len(p))); err != nil {
		return 0, errors.Join(err, os.ErrDeadlineExceeded)
	}
	n, err := w.ResponseWriter.Write(p)
	w.done(int64(n), err)
	return n, err
}

// ReadFrom hands chunks of src to the wrapped writer. net/http uses sendfile for
// a file, and for one io.LimitedReader around a file, but not for two: the limit
// of http.ServeContent is therefore opened. What is not a file may have to be
// waited for.
func (w *pacedWriter) ReadFrom(src io.Reader) (int64, error) {
	all := src
	whole, limited := src.(*io.LimitedReader)
	if limited {
		src = whole.R
	}
	if _, isFile := src.(syscall.Conn); !isFile || w.http2 {
		return w.pass(all)
	}
	var total int64
	for {
		size := int64(sendChunk)
		if limited {
			size = min(size, whole.N)
		}
		if size <= 0 {
			return total, nil
		}
		if err := w.start(size); err != nil {
			return total, errors.Join(err, os.ErrDeadlineExceeded)
		}
		n, err := readFrom(w.ResponseWriter, &io.LimitedReader{R: src, N: size})
		w.done(n, err)
		total += n
		if limited {
			whole.N -= n
		}
		if err != nil || n < size {
			return total, err
		}
	}
}

// pass sends what comes as it comes: all of it, although the next may take a
// while, which is not the client's doing.
func (w *pacedWriter) pass(src io.Reader) (int64, error) {
	conn := http.NewResponseController(w.ResponseWriter)
	piece := make([]byte, passed)
	var total int64
	for {
		n, read := src.Read(piece)
		if n > 0 {
			sent, err := w.send(conn, piece[:n])
			total += int64(sent)
			if err != nil {
				return total, err
			}
		}
		switch {
		case errors.Is(read, io.EOF):
			return total, nil
		case read != nil:
			return total, read
		}
	}
}

// send writes a piece; a small one is not kept back.
func (w *pacedWriter) send(conn *http.ResponseController, piece []byte) (int, error) {
	if err := w.start(int64(len(piece))); err != nil {
		return 0, errors.Join(err, os.ErrDeadlineExceeded)
	}
	n, err := w.ResponseWriter.Write(piece)
	if err == nil && len(piece) < passed {
		err = conn.Flush()
	}
	w.done(int64(n), err)
	return n, err
}

// finish sends what net/http still buffers of a transfer, which may pause until its
// end. net/http finds errors again.
func (w *pacedWriter) finish(conn *http.ResponseController) {
	if !w.isTransfer() || w.start(0) != nil {
		return
	}
	_ = conn.Flush()
	_ = w.stop(0)
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
