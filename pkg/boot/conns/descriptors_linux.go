package conns

import (
	"io"
	"os"
	"sync"
)

// descriptors is the directory of what the process has open. It is held, since opening
// it needs what runs out.
var descriptors struct {
	sync.Mutex
	dir *os.File
}

// openDescriptors counts the descriptors of the process.
func openDescriptors() (int, error) {
	d := &descriptors
	d.Lock()
	defer d.Unlock()
	var err error
	if d.dir == nil {
		if d.dir, err = os.Open("/proc/self/fd"); err != nil {
			return 0, err
		}
	}
	if _, err = d.dir.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	names, err := d.dir.Readdirnames(-1)
	return len(names), err
}
