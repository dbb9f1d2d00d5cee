package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/pause"
)

// errNoSpace is the cause of a flight that the disk has no room for.
var errNoSpace = errors.New("fetch: no space for content in flight")

const (
	// heldBack is how many of the last bytes a direct reader gets only once the digest was
	// found right (contract row E6); of a shorter blob it is all.
	heldBack = 64 << 10
	// piece is how many bytes are read at a time.
	piece = 32 << 10
)

// openDirect passes the blob through to one caller, without a file: the disk is full.
// Each caller asks the upstream for itself, and holds a slot meanwhile.
func (f *Fetches) openDirect(ctx context.Context, t Target, src Source) (blob.Content, error) {
	if err := f.acquireSlot(ctx, t.Repo.Tenant); err != nil {
		return nil, err
	}
	d, err := beginDirect(ctx, t, src)
	if err != nil {
		f.slots.Release(t.Repo.Tenant, 1)
		return nil, err
	}
	d.release = func() { f.slots.Release(t.Repo.Tenant, 1) }
	f.direct.Add(1)
	return d, nil
}

// direct is the content of a blob as the upstream sends it. It can be read once, from
// its beginning.
type direct struct {
	ctx      context.Context // of Open: an io.Reader has none
	source   Source
	budget   budget
	broke    int64 // up to where the source was read when it last broke off
	repeated int64 // bytes of the present body that had come before
	body     io.ReadCloser
	size     int64
	digest   oci.Digest
	hash     *oci.Hasher
	ahead    []byte // read and not given
	ended    bool   // all was read, and is right
	failed   error
	started  bool // a byte was given
	release  func()
}

func beginDirect(ctx context.Context, t Target, src Source) (*direct, error) {
	part, err := src(ctx, 0)
	if err != nil {
		return nil, err
	}
	d := &direct{
		ctx: ctx, source: src, body: part.Body, size: max(part.Size, t.Size),
		digest: t.Digest, hash: oci.NewHasher(t.Digest.Algorithm()), ahead: make([]byte, 0, heldBack+piece),
	}
	err = d.checkSize(part.Size)
	switch {
	case d.size < 0:
		err = fault.Wrap(errNoSpace, fault.Unavailable, fault.UnavailableReason, "not enough space for a blob of unknown size in flight")
	case t.Size >= 0 && d.size != t.Size:
		err = fault.New(fault.BadUpstream, fault.SizeInvalid, "the upstream says that the blob has %d bytes, not %d", d.size, t.Size)
	case err == nil:
		err = d.fill()
	}
	if err != nil {
		return nil, errors.Join(err, d.body.Close())
	}
	return d, nil
}

// checkSize holds what the upstream says of the size against what is known.
func (d *direct) checkSize(size int64) error {
	if size >= 0 && size != d.size {
		return fault.New(fault.BadUpstream, fault.SizeInvalid, "the upstream says that the blob has %d bytes, not %d", size, d.size)
	}
	return nil
}

// WholeOnly says that ranges cannot be served: the digest is that of the whole.
func (d *direct) WholeOnly() bool { return true }

// Size implements blob.Content.
func (d *direct) Size() int64 { return d.size }

// ReadError is what the last Read failed with (see blob.ReadError).
func (d *direct) ReadError() error { return d.failed }

// fill reads until there are bytes to give.
func (d *direct) fill() error {
	for !d.ended && len(d.ahead) <= heldBack {
		room := d.ahead[len(d.ahead):cap(d.ahead)]
		n, err := d.body.Read(room)
		_, _ = d.hash.Write(room[:n]) // never fails
		d.ahead = d.ahead[:len(d.ahead)+n]
		switch got := d.hash.Size(); {
		case got > d.size:
			return fault.New(fault.BadUpstream, fault.SizeInvalid, "the upstream sent more than the %d bytes of the blob", d.size)
		case err == nil:
		case errors.Is(err, io.EOF) && got == d.size:
			if sum := d.hash.Digest(); sum != d.digest {
				return fault.New(fault.BadUpstream, fault.DigestInvalid, "the upstream sent a blob with the digest %s, not %s", sum, d.digest)
			}
			d.ended = true
		default:
			if err := d.resume(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume asks the upstream for the rest after it broke off, within the bounds of contract
// row T21.
func (d *direct) resume(cause error) error {
	for {
		if d.ctx.Err() != nil {
			return context.Cause(d.ctx)
		}
		got := d.hash.Size()
		broken := fault.Wrap(fmt.Errorf("%w: it has %d of %d bytes: %w", errBroken, got, d.size, cause), fault.BadUpstream, fault.UnavailableReason,
			"the upstream broke off while this blob was fetched from it")
		wait, again := d.budget.spend(try{came: got - d.broke + d.repeated, fresh: got - d.broke, written: got, size: d.size, err: cause})
		if !again || got == 0 { // the client has nothing that it could lose
			return broken
		}
		if wait > 0 {
			if err := pause.Between(d.ctx, wait, 3*wait/2); err != nil {
				return err
			}
		}
		d.broke, d.repeated = got, 0
		if cause = d.ask(got); cause == nil || isFinal(cause) || fault.Is(cause, fault.SizeInvalid) {
			return cause
		}
	}
}

// ask asks the source for what comes after the first bytes, and skips what comes again.
func (d *direct) ask(got int64) error {
	_ = d.body.Close()                                       // it is broken
	part, err := d.source(d.ctx, min(got, max(d.size-1, 0))) // a range needs a byte
	if err != nil {
		return err
	}
	d.body = part.Body
	if err := d.checkSize(part.Size); err != nil {
		return err
	}
	d.repeated, err = io.CopyN(io.Discard, d.body, got-part.From)
	return err
}

// Read implements io.Reader.
func (d *direct) Read(p []byte) (int, error) {
	if d.failed != nil {
		return 0, d.failed
	}
	if err := d.fill(); err != nil {
		d.failed = err
		return 0, err
	}
	ready := d.ahead
	if !d.ended {
		ready = ready[:len(ready)-heldBack]
	}
	if len(ready) == 0 {
		return 0, io.EOF
	}
	n := copy(p, ready)
	d.ahead = d.ahead[:copy(d.ahead, d.ahead[n:])]
	d.started = d.started || n > 0
	return n, nil
}

// Seek tells the size, and returns to the beginning before the first Read.
func (d *direct) Seek(offset int64, whence int) (int64, error) {
	switch {
	case whence == io.SeekEnd && offset == 0:
		return d.size, nil
	case whence == io.SeekStart && offset == 0 && !d.started:
		return 0, nil
	}
	return 0, errors.New("fetch: content that is passed through is read once, from its beginning")
}

// Close implements io.Closer. It can be called again.
func (d *direct) Close() error {
	if d.release == nil {
		return nil
	}
	d.release()
	d.release = nil
	return d.body.Close()
}
