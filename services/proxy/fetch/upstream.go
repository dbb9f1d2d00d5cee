package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/inflight"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/pause"
)

// Retries of a source that breaks off.
const (
	retries = 2
	backoff = 250 * time.Millisecond // before the first; four times as long before each next
)

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

// askWithRetries asks the source until it has sent all, or the error is final. It
// calls begun whenever there is a stream.
func (fl *flight) askWithRetries(ctx context.Context, begun func()) error {
	for attempt, wait := 0, backoff; ; attempt, wait = attempt+1, 4*wait {
		err := fl.ask(ctx, begun)
		if !errors.Is(err, errBroken) || attempt == retries || ctx.Err() != nil {
			return readerError(ctx, err)
		}
		fl.Log.WarnContext(ctx, "an upstream broke off while a blob was fetched; it is asked again",
			"repository", fl.target.Repo.Name, "digest", fl.target.Digest, "bytes", fl.stream.Written(), "error", err)
		if err := pause.Between(ctx, wait/2, 3*wait/2); err != nil {
			return err
		}
	}
}

// ask asks the source once.
func (fl *flight) ask(ctx context.Context, begun func()) error {
	ctx, cancel := context.WithCancel(ctx) // it ends the source with this attempt
	defer cancel()
	body, size, err := fl.source(ctx)
	if err != nil {
		if fl.stream == nil || isFinal(err) {
			return err
		}
		return errors.Join(errBroken, err)
	}
	defer body.Close()
	if want := fl.target.Size; want >= 0 && size >= 0 && size != want {
		return fault.New(fault.BadUpstream, fault.SizeInvalid, "the upstream says that the blob has %d bytes, not %d", size, want)
	}
	if err := fl.beginSource(size); err != nil {
		return err
	}
	begun()
	if err := fl.copyFrom(body); err != nil {
		return err
	}
	return fl.stream.Finish()
}

// isFinal reports whether a retry is useless.
func isFinal(err error) bool {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Denied, fault.TooMany:
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

// beginSource begins a source, which starts at byte 0 and declares the size.
func (fl *flight) beginSource(size int64) error {
	if fl.stream != nil {
		fl.stream.Restart()
		return nil
	}
	size = max(size, fl.target.Size)
	if err := checkDiskSpace(fl.Dir, size); err != nil {
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

// spaceCheckInterval is the number of bytes between checks of the disk space.
const spaceCheckInterval = 64 << 20

// copyFrom copies r to the stream. Errors of r wrap errBroken, as does an early end
// of a blob of known size.
func (fl *flight) copyFrom(r io.Reader) error {
	piece := make([]byte, 64<<10)
	var came, looked int64
	for {
		if came-looked >= spaceCheckInterval { // others use the disk too, and the size may be unknown
			if err := checkDiskSpace(fl.Dir, 0); err != nil {
				return err
			}
			looked = came
		}
		n, err := r.Read(piece)
		if _, err := fl.stream.Write(piece[:n]); err != nil {
			return err
		}
		came += int64(n)
		if fl.abandoned() {
			return errAbandoned
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

// lease is the key of the lease for fetching the blob.
func (fl *flight) lease(kind string) lease.Key {
	r := fl.target.Repo
	return lease.Key{Kind: kind, Tenant: r.Tenant, Name: fmt.Sprintf("%d %d %s@%s", fl.target.Hops, r.Registry, r.Name, fl.target.Digest)}
}

// minFree is the disk space that a fetch leaves free; on a small disk it is a
// sixteenth.
const minFree = 1 << 30

// checkDiskSpace refuses a blob that does not fit on the disk of dir: a full disk would
// break all flights, and maybe more.
func checkDiskSpace(dir string, size int64) error {
	if dir == "" {
		dir = os.TempDir()
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fault.Down(err, "the space for content in flight")
	}
	block := uint64(fs.Bsize)
	keep := min(minFree, fs.Blocks*block/16)
	if free := fs.Bavail * block; uint64(max(size, 0))+keep > free {
		return fault.Wrap(fmt.Errorf("%s has %d bytes free, of which %d stay so", dir, free, keep), fault.Unavailable, fault.UnavailableReason,
			"not enough space for a blob of %d bytes in flight", size)
	}
	return nil
}
