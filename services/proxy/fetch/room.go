package fetch

import (
	"fmt"
	"os"
	"syscall"

	"github.com/berth-registry/berth/pkg/fault"
)

// spare is what a fetch leaves free of the disk, at most; of a small one it is a
// sixteenth.
const spare = 1 << 30

// room refuses a blob that the disk of dir has no room for: filling it would end
// all that is on its way, and maybe more.
func room(dir string, size int64) error {
	if dir == "" {
		dir = os.TempDir()
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fault.Down(err, "the space for content on its way")
	}
	block := uint64(fs.Bsize)
	keep := min(spare, fs.Blocks*block/16)
	if free := fs.Bavail * block; uint64(max(size, 0))+keep > free {
		return fault.Wrap(fmt.Errorf("%s has %d bytes free, of which %d stay so", dir, free, keep), fault.Unavailable, fault.UnavailableReason,
			"there is no room here for a blob of %d bytes on its way", size)
	}
	return nil
}
