package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/pause"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// leaderTimeout is how long the process with the lease may be unreachable.
	leaderTimeout = time.Second
	// pollInterval is about how long to wait before the next look.
	pollInterval = 100 * time.Millisecond
)

// coordinate gets the blob from the nearest source: the store, another process that
// fetches it, or the upstream.
func (fl *flight) coordinate(ctx context.Context) error {
	if err := fl.acquireSlot(ctx, fl.target.Repo.Tenant); err != nil {
		return err
	}
	defer fl.slots.Release(fl.target.Repo.Tenant, 1)
	if !fl.admit() {
		return context.Canceled
	}
	key, again := fl.lease("fetch"), false
	var since time.Time // when the process with the lease was first found unreachable; zero before
	for ctx.Err() == nil {
		l, at, granted := fl.Leases.Acquire(ctx, key, fl.Self)
		if granted {
			defer l.Release()
			fl.startLeading()
		}
		if found, err := fl.fromStore(ctx); found || err != nil {
			return err
		}
		// A lease only saves work.
		late := !since.IsZero() && time.Since(since) > leaderTimeout
		if granted || late && (again || at == "") {
			fl.startLeading()
			return fl.fetchUpstream(ctx)
		}
		if late {
			// A process that died keeps its lease for a while. Its readers share a second
			// lease, so that not all of them ask the upstream.
			key, again, since = fl.lease("fetch again"), true, time.Time{}
			continue
		}
		before, asked := fl.written(), time.Now()
		if done, err := fl.fromPeer(ctx, key, again, at); done || err != nil {
			return err
		}
		switch {
		case fl.written() > before:
			since = time.Now()
		case since.IsZero():
			// A flight that waited in vain for an upstream counts from here: else the
			// processes would wait one after the other.
			since = asked
		}
		if err := pause.Between(ctx, pollInterval/2, 3*pollInterval/2); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (fl *flight) written() int64 {
	if fl.stream == nil {
		return 0
	}
	return fl.stream.Written()
}

// next is the byte from which a source is asked. A range needs a byte, so the last one is
// asked for again if it may be the last of the blob.
func (fl *flight) next() int64 {
	written := fl.written()
	if written > 0 && (fl.size < 0 || written == fl.size) {
		written--
	}
	return written
}

// fromStore uses a blob that has been stored since. If the store does not respond
// or has lost the bytes, the blob counts as not stored: fetching repairs it.
func (fl *flight) fromStore(ctx context.Context) (bool, error) {
	b, err := fl.Meta.FindBlob(ctx, fl.target.Repo, fl.target.Digest)
	if err != nil {
		if fault.KindOf(err) != fault.NotFound {
			fl.Log.WarnContext(ctx, "whether a blob is stored could not be found out; it is fetched", "digest", fl.target.Digest, "error", err)
		}
		return false, nil
	}
	if b.Suspect {
		return false, nil
	}
	c, err := fl.Blobs.Open(ctx, b.Key)
	if err != nil {
		fl.Log.WarnContext(ctx, "a stored blob cannot be opened; it is fetched", "digest", b.Digest, "key", b.Key, "error", err)
		return false, nil
	}
	defer c.Close()
	switch {
	case c.Size() != b.Size:
		return false, nil
	case fl.stream == nil:
		fl.stored = b
		close(fl.known)
		return true, nil
	}
	from, err := c.Seek(fl.next(), io.SeekStart)
	if err != nil {
		return false, nil // like one that cannot be opened
	}
	return fl.fromOther(Part{Body: c, From: from, Size: b.Size}, c)
}

// maxWaiting is how many flights of one tenant wait for a slot at a time.
// retryAfter is the Retry-After of a refused flight.
const (
	maxWaiting = 4096
	retryAfter = 10 * time.Second
)

// newSlots bounds the concurrent flights. No tenant gets all slots, and the next
// free one goes to the tenant with the fewest. An upstream can make a flight last
// for ever, so each tenant has an assured share of a 16th; these shares add at most
// n slots to n.
func newSlots(n int) *fairgate.Gate[tenant.ID] {
	all := int64(n)
	return fairgate.New[tenant.ID](fairgate.Options{
		Capacity: all, Most: max(all-all/4, 1), Assured: all / 16, Beyond: all, MaxWaiting: maxWaiting,
	})
}

// acquireSlot waits for a slot until ctx ends, at the latest with the flight's last
// caller.
func (f *Fetches) acquireSlot(ctx context.Context, t tenant.ID) error {
	err := f.slots.Acquire(ctx, t, 1)
	if errors.Is(err, fairgate.ErrQueueFull) {
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "too many blobs wait to be fetched from upstreams; retry later").WithRetryAfter(retryAfter)
	}
	return err
}
