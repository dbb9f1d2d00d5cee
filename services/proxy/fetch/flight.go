package fetch

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/meta"
)

// flight is the fetch of one blob by this process.
type flight struct {
	*Fetches
	target Target
	source Source
	cancel context.CancelCauseFunc

	// Set before known is closed: one of the three.
	known  chan struct{}
	stream *inflight.Stream
	size   int64     // of the stream; -1 = not known
	stored meta.Blob // it was stored already
	err    error     // it failed before there was a stream

	storing atomic.Bool // it is being stored
	claimed int64       // of Fetches.pending; only run uses it

	// Guarded by Fetches.mu.
	callers  int  // that may still open the stream
	admitted bool // it has a slot
	leading  bool // it asks the upstream
	finished bool // it has ended
}

// begin begins a flight in a goroutine. The caller holds mu.
func (f *Fetches) begin(ctx context.Context, t Target, src Source) *flight {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	fl := &flight{Fetches: f, target: t, source: src, cancel: cancel, known: make(chan struct{})}
	f.flights[t.key()] = fl
	f.running.Go(func() {
		defer cancel(nil)
		stop := context.AfterFunc(f.ended, func() { cancel(errClosing) })
		defer stop()
		fl.run(ctx)
	})
	return fl
}

// run fetches the blob. The flight can be joined until the blob is stored, so that
// every caller finds either.
func (fl *flight) run(ctx context.Context) {
	defer func() { fl.claim(-fl.claimed) }()
	if err := fl.coordinate(ctx); err != nil {
		fl.fail(err)
		// Logged once here, however many callers get it.
		if fault.Is(err, fault.DigestInvalid) || fault.Is(err, fault.SizeInvalid) {
			fl.Log.WarnContext(ctx, "the fetched bytes do not match the digest of the blob; nothing is stored",
				"repository", fl.target.Repo.Name, "digest", fl.target.Digest, "error", err)
		}
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.forget()
	fl.finished = true
	fl.release()
}

// fail ends the flight for all its callers.
func (fl *flight) fail(err error) {
	if fl.stream != nil {
		fl.stream.Fail(err)
		return
	}
	fl.err = err
	close(fl.known)
}

// failed reports whether readers fail.
func (fl *flight) failed() bool {
	select {
	case <-fl.known:
		return fl.err != nil || fl.stream != nil && fl.stream.Err() != nil
	default:
		return false
	}
}

// open waits for the first bytes that can be read. The caller has joined the
// flight, and leaves it after.
func (fl *flight) open(ctx context.Context) (blob.Content, error) {
	select {
	case <-fl.known:
	case <-ctx.Done():
		return nil, fault.From(context.Cause(ctx))
	}
	switch {
	case fl.err != nil:
		return nil, fl.err
	case fl.stream == nil:
		c, err := fl.Blobs.Open(ctx, fl.stored.Key)
		if err != nil {
			return nil, fault.Down(err, "the content of this blob")
		}
		return c, nil
	}
	c := fl.stream.Open(ctx)
	_, err := c.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) { // an empty blob
		err = nil
	}
	if err == nil {
		_, err = c.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = c.Close() // it only releases the file
		if ctx.Err() != nil {
			err = fault.From(context.Cause(ctx))
		}
		return nil, err
	}
	return c, nil
}

// Each caller that has joined calls leave. A flight without a slot ends with its
// last caller, so that clients which left do not fill the queue.
func (fl *flight) leave() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.callers--
	if fl.callers == 0 && !fl.admitted {
		fl.forget()
		fl.cancel(context.Canceled)
	}
	fl.release()
}

// errAbandoned is the cause of a flight that ended early for lack of readers.
var errAbandoned = errors.New("fetch: neither read nor stored")

// abandoned reports whether the flight has no reader and is not being stored. Then
// the next caller begins a new flight.
func (fl *flight) abandoned() bool {
	if fl.storing.Load() || fl.stream.Readers() > 0 {
		return false
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.callers > 0 || fl.stream.Readers() > 0 {
		return false
	}
	fl.forget()
	return true
}

// forget lets a new flight take the place of this one. The caller holds mu.
func (fl *flight) forget() {
	if k := fl.target.key(); fl.flights[k] == fl {
		delete(fl.flights, k)
	}
}

// release releases the bytes once no caller can open them. The caller holds mu.
func (fl *flight) release() {
	if fl.finished && fl.callers == 0 && fl.stream != nil {
		if errors.Is(fl.stream.Err(), errClosing) {
			fl.stream.Keep()
		}
		fl.stream.Release()
	}
}

// admit records that the flight has a slot; false if it has no callers.
func (fl *flight) admit() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.admitted = fl.callers > 0
	return fl.admitted
}

// startLeading records that the flight asks the upstream from now on.
func (fl *flight) startLeading() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.leading = true
}
