package sqlitemeta

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile takes the lock that keeps a second process out of the directory. The
// lock ends with the process in any case. flag is os.O_CREATE or 0.
func lockFile(path string, flag int) (*os.File, error) {
	dir := filepath.Dir(path)
	f, err := os.OpenFile(path, flag|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s cannot be locked: %w", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("data_dir %s is already in use by another process, and SQLite serves one process only; stop that process", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unlockFile ends the lock. To close the file does not, while a process that this one is just
// starting still has it.
func unlockFile(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
