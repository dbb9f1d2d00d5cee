package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
)

// stallTimeout is how long another process may send no byte before its lease is
// checked.
const stallTimeout = 2 * time.Second

// fromPeer reads from the flight of the process with the lease. It returns false if
// that fails. With again, the first byte must come soon.
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
	part, err := fl.Peer(ctx, at, fl.target, fl.next())
	hurry.Stop()
	if err != nil {
		fl.Log.DebugContext(ctx, "a blob could not be read from the process that fetches it", "at", at, "digest", fl.target.Digest, "error", err)
		return false, nil
	}
	defer part.Body.Close()
	return fl.fromOther(part, signalReader{part.Body, came})
}

// fromOther copies bytes of a part that were fetched before; it returns false if r
// breaks off, or the part is not of this blob.
func (fl *flight) fromOther(part Part, r io.Reader) (bool, error) {
	err := fl.beginPart(part, nil)
	if fault.Is(err, fault.SizeInvalid) {
		return false, nil
	}
	if err == nil {
		_, err = fl.copyFrom(r)
	}
	if errors.Is(err, errBroken) {
		return false, nil
	}
	if err == nil {
		err = fl.stream.Finish()
	}
	return err == nil, err
}

// watch ends reading from another process that lost its lease while it sent
// nothing: if its node died, the connection never breaks.
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

// signalReader signals every read.
type signalReader struct {
	io.Reader
	came chan<- struct{}
}

func (n signalReader) Read(p []byte) (int, error) {
	read, err := n.Reader.Read(p)
	select {
	case n.came <- struct{}{}:
	default:
	}
	return read, err
}
