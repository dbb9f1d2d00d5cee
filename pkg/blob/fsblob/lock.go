package fsblob

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockDir takes the directory for this process. The lock ends with
// unlockDir, at the latest with the process. A reader next to that
// process only opens the directory.
func lockDir(dir string, beside bool) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("blob directory %s cannot be opened: %w", dir, err)
	}
	if beside {
		return f, nil
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another process uses it, and file-system blobs serve one process only; stop that process, or keep blobs in S3 to run several")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob directory %s cannot be locked: %w", dir, err), f.Close())
	}
	return f, nil
}

// unlockDir ends the lock. To close the directory does not, while a process that this one is
// just starting still has it.
func unlockDir(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}
