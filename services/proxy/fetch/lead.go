package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/lease"
)

// How a source that breaks off is asked again.
const (
	retries = 2
	backoff = 250 * time.Millisecond // before the first; four times as long before each next
)

// errBroken marks a source that ended before the blob did.
var errBroken = errors.New("fetch: the source broke off")

// fromUpstream asks the upstream and stores what comes. It returns once both
// have ended; that nothing could be stored is no failure.
func (fl *flight) fromUpstream(ctx context.Context) error {
	var stored chan struct{}
	err := fl.askUntil(ctx, func() {
		if stored == nil {
			stored = make(chan struct{})
			fl.keeping.Store(true)
			go func() {
				defer close(stored)
				fl.keep(ctx)
			}()
		}
	})
	if stored != nil {
		if err != nil {
			fl.stream.Fail(err) // who stores it waits for that
		}
		<-stored
	}
	return err
}

// askUntil asks the source until it gave all, or that is hopeless. begun is
// called whenever the stream is there.
func (fl *flight) askUntil(ctx context.Context, begun func()) error {
	for attempt, pause := 0, backoff; ; attempt, pause = attempt+1, 4*pause {
		err := fl.ask(ctx, begun)
		if !errors.Is(err, errBroken) || attempt == retries || ctx.Err() != nil {
			return broken(ctx, err)
		}
		fl.Log.WarnContext(ctx, "an upstream broke off while a blob was fetched; it is asked again",
			"repository", fl.target.Repo.Name, "digest", fl.target.Digest, "bytes", fl.stream.Written(), "error", err)
		select {
		case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // spreads the load, hides nothing
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ask asks the source once.
func (fl *flight) ask(ctx context.Context, begun func()) error {
	ctx, cancel := context.WithCancel(ctx) // it ends the source with this attempt
	defer cancel()
	body, size, err := fl.source(ctx)
	if err != nil {
		if fl.stream == nil || final(err) {
			return err
		}
		return errors.Join(errBroken, err)
	}
	defer body.Close()
	if want := fl.target.Size; want >= 0 && size >= 0 && size != want {
		return fault.New(fault.BadUpstream, fault.SizeInvalid, "the upstream says that the blob has %d bytes, not %d", size, want)
	}
	if err := fl.expect(size); err != nil {
		return err
	}
	begun()
	if err := fl.pour(body); err != nil {
		return err
	}
	return fl.stream.Finish()
}

// final says whether asking again is of no use.
func final(err error) bool {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Denied, fault.TooMany:
		return true
	default:
		return false
	}
}

// broken is the failure as readers get it.
func broken(ctx context.Context, err error) error {
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

// expect begins with a source, which comes from byte 0 and says that the blob
// has so many bytes.
func (fl *flight) expect(size int64) error {
	if fl.stream != nil {
		fl.stream.Restart()
		return nil
	}
	size = max(size, fl.target.Size)
	if err := room(fl.Dir, size); err != nil {
		return err
	}
	s, err := inflight.New(inflight.Options{Digest: fl.target.Digest, Size: size, Dir: fl.Dir})
	if err != nil {
		return err
	}
	fl.stream = s
	close(fl.known)
	return nil
}

// lookForRoom is after how many bytes it is looked whether there is still room.
const lookForRoom = 64 << 20

// pour writes what r gives to the stream. Where r is what fails, the error wraps
// errBroken; the end of r before that of a blob of known size counts as that.
func (fl *flight) pour(r io.Reader) error {
	piece := make([]byte, 64<<10)
	var came, looked int64
	for {
		if came-looked >= lookForRoom { // others take it, too, and maybe nobody said how much it will be
			if err := room(fl.Dir, 0); err != nil {
				return err
			}
			looked = came
		}
		n, err := r.Read(piece)
		if _, err := fl.stream.Write(piece[:n]); err != nil {
			return err
		}
		came += int64(n)
		if fl.useless() {
			return errUseless
		}
		switch {
		case errors.Is(err, io.EOF):
			if want := fl.target.Size; came < want {
				return fmt.Errorf("%w: it has %d of %d bytes", errBroken, came, want)
			}
			return nil
		case err != nil:
			return errors.Join(errBroken, err)
		}
	}
}

// lease is what one of all processes has while it fetches the blob.
func (fl *flight) lease(kind string) lease.Key {
	r := fl.target.Repo
	return lease.Key{Kind: kind, Tenant: r.Tenant, Name: fmt.Sprintf("%d %d %s@%s", fl.target.Hops, r.Registry, r.Name, fl.target.Digest)}
}
