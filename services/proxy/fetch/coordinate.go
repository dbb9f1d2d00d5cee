package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/pause"
)

const (
	// leaderTimeout is how long the process with the lease may be unreachable.
	leaderTimeout = time.Second
	// pollInterval is about how long to wait before the next look.
	pollInterval = 100 * time.Millisecond
	// stallTimeout is how long another process may send no byte before its lease is
	// checked.
	stallTimeout = 2 * time.Second
)

// coordinate brings the blob in, from where it is nearest: the store, the process
// that fetches it already, the upstream.
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
		// A lease saves work and decides nothing.
		late := !since.IsZero() && time.Since(since) > leaderTimeout
		if granted || late && (again || at == "") {
			fl.startLeading()
			return fl.fetchUpstream(ctx)
		}
		if late {
			// A process that died keeps its lease for a while. Those that read from it
			// share a second lease, or all of them would ask the upstream.
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
			// One that waited in vain for an upstream that is out counts from here:
			// else the processes would wait for their turns one after the other.
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

// fromStore takes a blob that was stored meanwhile. One whose store does not
// answer, or has lost the bytes, counts as not stored: fetching heals that.
func (fl *flight) fromStore(ctx context.Context) (bool, error) {
	b, err := fl.Meta.FindBlob(ctx, fl.target.Repo, fl.target.Digest)
	if err != nil {
		if fault.KindOf(err) != fault.NotFound {
			fl.Log.WarnContext(ctx, "whether a blob is stored could not be found out; it is fetched", "digest", fl.target.Digest, "error", err)
		}
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
	if err := fl.beginSource(b.Size); err != nil {
		return false, err
	}
	return fl.fromOther(c)
}

// fromPeer reads from the flight of the process that has the lease. It is not
// done where that does not work. With again, the first byte must come soon.
func (fl *flight) fromPeer(ctx context.Context, key lease.Key, again bool, at string) (bool, error) {
	if fl.Peer == nil || at == "" || at == fl.Self {
		return false, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	came := make(chan struct{}, 1)
	go fl.watch(ctx, cancel, key, came)
	hurry := time.AfterFunc(leaderTimeout, cancel)
	if !again {
		hurry.Stop()
	}
	body, size, err := fl.Peer(ctx, at, fl.target)
	hurry.Stop()
	if err != nil {
		fl.Log.DebugContext(ctx, "a blob could not be read from the process that fetches it", "at", at, "digest", fl.target.Digest, "error", err)
		return false, nil
	}
	defer body.Close()
	if want := fl.target.Size; want >= 0 && size >= 0 && size != want {
		return false, nil
	}
	if err := fl.beginSource(size); err != nil {
		return false, err
	}
	return fl.fromOther(progressReader{body, came})
}

// fromOther takes what was fetched before; it is not done where r breaks off.
func (fl *flight) fromOther(r io.Reader) (bool, error) {
	err := fl.copyFrom(r)
	if errors.Is(err, errBroken) {
		return false, nil
	}
	if err == nil {
		err = fl.stream.Finish()
	}
	return err == nil, err
}

// watch ends reading from another process once that one has lost the lease
// without a word: its node died, and so no connection to it ever breaks.
func (fl *flight) watch(ctx context.Context, cancel context.CancelFunc, key lease.Key, came <-chan struct{}) {
	timer := time.NewTimer(stallTimeout)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-came:
		case <-timer.C:
			if l, _, granted := fl.Leases.Acquire(ctx, key, fl.Self); granted {
				l.Release()
				cancel()
				return
			}
		}
		timer.Reset(stallTimeout)
	}
}

// progressReader signals every read.
type progressReader struct {
	io.Reader
	came chan<- struct{}
}

func (n progressReader) Read(p []byte) (int, error) {
	read, err := n.Reader.Read(p)
	select {
	case n.came <- struct{}{}:
	default:
	}
	return read, err
}
