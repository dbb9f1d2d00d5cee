// Package tempfile makes temporary files that leave nothing behind.
package tempfile

import (
	"errors"
	"os"
)

// Unlinked returns a new file without a name in dir, the system's directory for
// temporary files where dir is "". Its space is free again once it is closed,
// or the process has ended. It is open for reading and writing.
func Unlinked(dir, prefix string) (*os.File, error) {
	f, err := os.CreateTemp(dir, prefix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
