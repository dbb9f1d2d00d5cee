package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// maxWaiting is how many flights of one tenant wait for a slot at a time, and
// retryAfter what a refused one is told.
const (
	maxWaiting = 4096
	retryAfter = 10 * time.Second
)

// newSlots bounds how many flights there are at a time. No tenant has all of them,
// and the next free one goes to the tenant that has the fewest. A flight may take
// for ever, if its upstream wants that; so each tenant is assured of a 16th, while
// these shares go no further than n beyond n.
func newSlots(n int) *fairgate.Gate[tenant.ID] {
	all := int64(n)
	return fairgate.New[tenant.ID](fairgate.Options{
		Capacity: all, Most: max(all-all/4, 1), Assured: all / 16, Beyond: all, MaxWaiting: maxWaiting,
	})
}

// acquireSlot waits for a slot as long as ctx lasts, which ends with the flight's last caller.
func (f *Fetches) acquireSlot(ctx context.Context, t tenant.ID) error {
	err := f.slots.Acquire(ctx, t, 1)
	if errors.Is(err, fairgate.ErrQueueFull) {
		return fault.Wrap(err, fault.Unavailable, fault.Busy, "too many blobs wait to be fetched from upstreams; retry later").WithRetryAfter(retryAfter)
	}
	return err
}

// minFree is what a fetch leaves free of the disk, at most; of a small one it is a
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
		return fault.Down(err, "the space for content on its way")
	}
	block := uint64(fs.Bsize)
	keep := min(minFree, fs.Blocks*block/16)
	if free := fs.Bavail * block; uint64(max(size, 0))+keep > free {
		return fault.Wrap(fmt.Errorf("%s has %d bytes free, of which %d stay so", dir, free, keep), fault.Unavailable, fault.UnavailableReason,
			"there is no room here for a blob of %d bytes on its way", size)
	}
	return nil
}
