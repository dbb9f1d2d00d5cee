// Package fsblob keeps objects as files of one directory, which one process
// owns at a time.
//
// Each object is one file, o/<tenant>/<shard>/<incarnation>, from its first
// staged byte on: nothing is copied or renamed when it goes live. A sealed file
// is read-only, which tells a late writer that it has lost.
package fsblob

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/internal/turns"
	"github.com/berth-registry/berth/pkg/fault"
)

// defaultStepBytes is Options.StepBytes unless it is given.
const defaultStepBytes = 64 << 20

// Options tune a Store; the zero value is right for use.
type Options struct {
	StepBytes int64 // between two durable steps of one Append; 0 = 64 MiB
	MinFree   int64 // bytes of the disk that uploads leave free; 0 = 1 GiB, or 5 % of a small one
}

// Store is a blob.Store in a directory. It is safe for concurrent use.
type Store struct {
	tree      *tree
	dir       string
	minFree   int64
	lock      *os.File
	stepBytes int64
	extra     chan struct{} // one token for each buffer beyond an Append's first

	writers turns.Table
}

var _ blob.Store = (*Store)(nil)

// Open opens the store in dir, which it creates if it is missing, and locks it
// against other processes. Its errors are sentences for the operator.
func Open(dir string, o Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("blob directory %s cannot be created: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	t, err := openTree(dir, lock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob directory %s cannot be used: %w", dir, err), lock.Close())
	}
	return &Store{
		tree:      t,
		dir:       dir,
		minFree:   o.MinFree,
		lock:      lock,
		stepBytes: cmp.Or(o.StepBytes, defaultStepBytes),
		extra:     make(chan struct{}, extraBuffers),
	}, nil
}

// Close fences the running writers, waits until they have let go of their
// files and gives the directory free. Open contents stay readable.
func (s *Store) Close() error {
	s.writers.Close()
	return errors.Join(s.tree.close(), s.lock.Close())
}

// down says that the file system failed while doing something.
func down(err error, doing string) error {
	return fault.Down(fmt.Errorf("fsblob: %s: %w", doing, err), "blob storage")
}
