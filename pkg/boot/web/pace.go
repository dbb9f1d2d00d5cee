package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// Pace is how slow a client may be (contract row A7). A request has no limit
// of time, since an upload may rightly take hours; it has a budget of waiting
// time instead. Waiting for the client spends it, each byte that moves earns
// some back, and it never grows beyond Grace. The zero value means the defaults.
type Pace struct {
	Grace  time.Duration // how long a client may stand still; default 30 s
	MinIn  int64         // bytes per second a body must arrive with; default 1 KiB
	MinOut int64         // bytes per second an answer must be taken with; default 16 KiB
}

func (p Pace) orDefault() Pace {
	if p.Grace == 0 {
		p.Grace = 30 * time.Second
	}
	if p.MinIn == 0 {
		p.MinIn = 1 << 10
	}
	if p.MinOut == 0 {
		p.MinOut = 16 << 10
	}
	return p
}

// sendChunk is how much of an answer goes out under one deadline: sendfile
// tells nothing before it is done, and a whole blob may take hours.
const sendChunk = 1 << 20

// slack is how far an armed deadline may fall behind the true one before it is
// set again, as a part of the grace, so that small reads and writes do not pay
// for a timer each.
const slack = 16

type pacer struct {
	Pace
	next http.Handler
}

func (p pacer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	out := &pacedWriter{ResponseWriter: w, http2: r.ProtoMajor >= 2, rate: p.MinOut, clock: clock{budget: p.Grace, grace: p.Grace, set: conn.SetWriteDeadline}}
	in := &pacedBody{ReadCloser: r.Body, rate: p.MinIn, clock: clock{budget: p.Grace, grace: p.Grace, set: conn.SetReadDeadline}}
	if !out.http2 {
		// The connection may still have the deadline of its last request, under
		// which net/http could not even write "100 Continue".
		out.clear()
	}
	hasBody := r.Body != nil && r.Body != http.NoBody
	if hasBody {
		r.Body = in
	}
	// Deferred: what net/http does after the handler has a deadline too. It
	// writes what is buffered and reads what the handler left of the body.
	defer func() {
		out.rest()
		if hasBody && !in.ended {
			in.rest()
		}
	}()
	p.next.ServeHTTP(out, r)
}

// clock keeps the budget of one direction of one request. Errors of set are
// dropped: a ResponseWriter that knows no deadlines is not a connection.
type clock struct {
	budget, grace time.Duration
	armed         time.Time
	set           func(time.Time) error
}

// start begins a wait for the client, with credit for bytes that will have
// moved when it ends.
func (c *clock) start(credit time.Duration) time.Time {
	now := time.Now()
	if deadline := now.Add(c.budget + credit); deadline.Sub(c.armed) > c.grace/slack || deadline.Before(c.armed) {
		c.armed = deadline
		_ = c.set(deadline)
	}
	return now
}

// stop ends a wait in which bytes worth credit have moved.
func (c *clock) stop(began time.Time, credit time.Duration) {
	c.budget = min(c.grace, max(0, c.budget-time.Since(began))+credit)
}

// rest leaves one whole grace for what comes after the handler.
func (c *clock) rest() {
	c.budget = c.grace
	c.start(0)
}

func (c *clock) clear() {
	c.armed = time.Time{}
	_ = c.set(time.Time{})
}

// worth is the time that n bytes may take at rate bytes per second.
func worth(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

type pacedBody struct {
	io.ReadCloser
	clock
	rate  int64
	ended bool
}

// Read fails with a *fault.Error over os.ErrDeadlineExceeded when the client
// was too slow; the connection is then of no more use.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.ended {
		return b.ReadCloser.Read(p)
	}
	began := b.start(0)
	n, err := b.ReadCloser.Read(p)
	b.stop(began, worth(int64(n), b.rate))
	if err != nil {
		// From here on net/http watches the connection for the client leaving,
		// and would take an expired deadline for that.
		b.ended = true
		b.clear()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fault.Wrap(err, fault.Invalid, fault.RequestInvalid, "the request body came too slowly")
	}
	return n, err
}

type pacedWriter struct {
	http.ResponseWriter
	clock
	http2 bool
	rate  int64
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	credit := worth(int64(len(p)), w.rate)
	began := w.start(credit)
	n, err := w.ResponseWriter.Write(p)
	w.wrote(began, credit)
	return n, err
}

// ReadFrom hands chunks of src to the wrapped writer, each with a deadline.
// net/http uses sendfile for a file, and for one io.LimitedReader around a
// file, but not for two: the limit of http.ServeContent is therefore opened.
// What is no file may have to be waited for.
func (w *pacedWriter) ReadFrom(src io.Reader) (int64, error) {
	all := src
	whole, limited := src.(*io.LimitedReader)
	if limited {
		src = whole.R
	}
	if _, isFile := src.(syscall.Conn); !isFile {
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
		credit := worth(size, w.rate)
		began := w.start(credit)
		n, err := readFrom(w.ResponseWriter, &io.LimitedReader{R: src, N: size})
		w.wrote(began, credit)
		total += n
		if limited {
			whole.N -= n
		}
		if err != nil || n < size {
			return total, err
		}
	}
}

// passed is how much of what is no file is sent at a time.
const passed = 32 << 10

// pass sends what comes as it comes: all of it, although the next may take a
// while, which is not the client's doing.
func (w *pacedWriter) pass(src io.Reader) (int64, error) {
	conn := http.NewResponseController(w.ResponseWriter)
	piece := make([]byte, passed)
	var total int64
	for {
		n, read := src.Read(piece)
		if n > 0 {
			credit := worth(int64(n), w.rate)
			began := w.start(credit)
			sent, err := w.ResponseWriter.Write(piece[:n])
			if err == nil && n < passed {
				err = conn.Flush()
			}
			w.wrote(began, credit)
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

// wrote ends a write. An HTTP/2 stream is reset when its deadline passes, even
// if nothing is being written then.
func (w *pacedWriter) wrote(began time.Time, credit time.Duration) {
	w.stop(began, credit)
	if w.http2 {
		w.clear()
	}
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
