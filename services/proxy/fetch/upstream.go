package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/pause"
)

// Part is a blob from a byte on.
type Part struct {
	Body io.ReadCloser
	From int64 // the first byte: the requested one, or 0
	Size int64 // of the whole blob, in bytes; -1 = not known
}

// Source asks the upstream for the blob from a byte on. Reading ends with ctx. It is
// called by one goroutine at a time.
type Source func(ctx context.Context, from int64) (Part, error)

// errBroken marks a source that ended before the blob did.
var errBroken = errors.New("fetch: the source broke off")

// fetchUpstream fetches from the upstream and stores the bytes. It returns once
// both have ended; a failure to store is not an error.
func (fl *flight) fetchUpstream(ctx context.Context) error {
	var stored chan struct{}
	err := fl.askWithRetries(ctx, func() {
		if stored == nil {
			stored = make(chan struct{})
			fl.storing.Store(true)
			go func() {
				defer close(stored)
				fl.store(ctx)
			}()
		}
	})
	if stored != nil {
		if err != nil {
			fl.stream.Fail(err) // storing waits for that
		}
		<-stored
	}
	return err
}

// askWithRetries asks the source, each time for the rest, until it has sent all, the
// error is final, or the tries bring too little. It calls begun whenever there is a
// stream.
func (fl *flight) askWithRetries(ctx context.Context, begun func()) error {
	var b budget
	for {
		before := fl.written()
		came, err := fl.ask(ctx, begun)
		if !errors.Is(err, errBroken) || ctx.Err() != nil {
			return readerError(ctx, err)
		}
		written := fl.written()
		wait, again := b.spend(try{came: came, fresh: written - before, written: written, size: fl.size, err: err})
		switch {
		case !again:
			return readerError(ctx, err)
		case fl.abandoned():
			return errAbandoned
		}
		level := slog.LevelDebug
		if wait > 0 {
			level = slog.LevelWarn
		}
		fl.Log.Log(ctx, level, "an upstream broke off while a blob was fetched; it is asked for the rest",
			"repository", fl.target.Repo.Name, "digest", fl.target.Digest, "bytes", written, "wait", wait, "error", err)
		if wait == 0 {
			continue
		}
		if err := pause.Between(ctx, wait, 3*wait/2); err != nil {
			return err
		}
	}
}

// ask asks the source once, for what the stream lacks. It returns how many bytes came.
func (fl *flight) ask(ctx context.Context, begun func()) (int64, error) {
	ctx, cancel := context.WithCancel(ctx) // it ends the source with this attempt
	defer cancel()
	var left *inflight.Stream
	from := fl.next()
	if fl.stream == nil {
		if left = fl.left.Continue(fl.options(fl.target.Size)); left != nil {
			from = min(left.Written(), left.Size()-1)
		} else if fl.target.Size > 0 {
			if err := fl.checkSpace(fl.target.Size); err != nil {
				return 0, err // without asking the upstream
			}
		}
	}
	part, err := fl.source(ctx, from)
	if err != nil {
		if left != nil {
			fl.left.Return(fl.options(left.Size()), left)
		}
		if fl.stream == nil || isFinal(err) {
			return 0, err
		}
		return 0, errors.Join(errBroken, err)
	}
	defer part.Body.Close()
	if err := fl.beginPart(part, left); err != nil {
		if left != nil {
			left.Release() // of another size, or larger than the disk
		}
		return 0, err
	}
	begun()
	came, err := fl.copyFrom(part.Body)
	if err != nil {
		return came, err
	}
	return came, fl.stream.Finish()
}

// isFinal reports whether a retry is useless.
func isFinal(err error) bool {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Denied:
		return true
	default:
		return false
	}
}

// readerError is the error for readers.
func readerError(ctx context.Context, err error) error {
	var known *fault.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.Is(err, errBroken), errors.As(err, &known):
		return err
	default:
		return fault.Wrap(err, fault.BadUpstream, fault.UnavailableReason, "the upstream broke off while this blob was fetched from it")
	}
}

// beginPart begins a part of the blob; the first one begins the stream, with what is left of
// it if left is not nil. It returns a fault.SizeInvalid if the part is not of this blob.
func (fl *flight) beginPart(p Part, left *inflight.Stream) error {
	size := fl.target.Size
	switch {
	case fl.stream != nil:
		size = fl.size
	case left != nil:
		size = left.Size()
	}
	if size >= 0 && p.Size >= 0 && p.Size != size {
		return fault.New(fault.BadUpstream, fault.SizeInvalid, "the upstream says that the blob has %d bytes, not %d", p.Size, size)
	}
	if fl.stream == nil {
		if err := fl.beginStream(max(p.Size, size), left); err != nil {
			return err
		}
	}
	fl.stream.Resume(p.From)
	return nil
}

// beginStream begins the stream that readers get.
func (fl *flight) beginStream(size int64, s *inflight.Stream) error {
	missing := size
	if s != nil {
		missing -= s.Written()
	}
	if err := fl.checkSpace(missing); err != nil {
		return err
	}
	if missing > 0 {
		fl.claim(missing)
	}
	if s == nil {
		var err error
		if s, err = inflight.New(fl.options(size)); err != nil {
			return err
		}
	}
	fl.stream, fl.size = s, size
	close(fl.known)
	return nil
}

// options are those of a stream of the blob.
func (fl *flight) options(size int64) inflight.Options {
	r := fl.target.Repo
	return inflight.Options{
		Digest: fl.target.Digest, Size: size, Dir: fl.Dir, Held: fl.Held,
		Name: fmt.Sprintf("%d %d %s@%s", r.Tenant, r.Registry, r.Name, fl.target.Digest),
	}
}

// copyFrom copies r to the stream, and returns how many bytes came. Errors of r wrap
// errBroken, as does an early end of a blob of known size.
func (fl *flight) copyFrom(r io.Reader) (int64, error) {
	buffer := make([]byte, 64<<10)
	var came, looked int64
	for {
		if came-looked >= spaceCheckInterval { // others use the disk too, and the size may be unknown
			if err := checkDiskSpace(fl.Dir, 0); err != nil {
				return came, err
			}
			looked = came
		}
		n, err := r.Read(buffer)
		if _, err := fl.stream.Write(buffer[:n]); err != nil {
			return came, err
		}
		came += int64(n)
		fl.claim(-min(int64(n), fl.claimed))
		if fl.abandoned() {
			return came, errAbandoned
		}
		if err == nil {
			continue
		}
		switch written := fl.written(); {
		case !errors.Is(err, io.EOF):
			return came, errors.Join(errBroken, err)
		case written < fl.size:
			return came, fmt.Errorf("%w: it has %d of %d bytes", errBroken, written, fl.size)
		default:
			return came, nil
		}
	}
}

// lease is the key of the lease for fetching the blob.
func (fl *flight) lease(kind string) lease.Key {
	r := fl.target.Repo
	return lease.Key{Kind: kind, Tenant: r.Tenant, Name: fmt.Sprintf("%d %d %s@%s", fl.target.Hops, r.Registry, r.Name, fl.target.Digest)}
}
