package fronttest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

// empty is the file of a metadata store with nothing but its schema: to make that
// takes longer than most tests.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "fronttest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := sqlitemeta.Open(context.Background(), sqlitemeta.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil { // puts everything into the one file
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, sqlitemeta.FileName))
})

// fresh puts a store with nothing in it into a directory that has none.
func fresh(dir string) error {
	file := filepath.Join(dir, sqlitemeta.FileName)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	content, err := empty()
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}
