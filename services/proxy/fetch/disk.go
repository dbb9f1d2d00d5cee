package fetch

import (
	"fmt"
	"os"
	"syscall"

	"github.com/berth-registry/berth/pkg/fault"
)

// spaceCheckInterval is the number of bytes between checks of the disk space.
const spaceCheckInterval = 64 << 20

// checkSpace refuses a blob that does not fit beside the other flights.
func (fl *flight) checkSpace(size int64) error {
	return checkDiskSpace(fl.Dir, max(size, 0)+fl.pending.Load())
}

// claim adds to the bytes that the flight is going to write, as far as they are known.
func (fl *flight) claim(n int64) {
	fl.claimed += n
	fl.pending.Add(n)
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
		return fault.Wrap(fmt.Errorf("%w: %s has %d bytes free, of which %d stay so", errNoSpace, dir, free, keep), fault.Unavailable, fault.UnavailableReason,
			"not enough space for a blob of %d bytes in flight", size)
	}
	return nil
}
