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
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

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

	// Existing opens a directory as it is, for read-only use: nothing in it is
	// made or changed. One that is not there is fs.ErrNotExist.
	Existing bool

	// Beside opens a directory as Existing does, while another process owns it.
	// Only Open and Stat may be called then.
	Beside bool
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
	readers readers

	naming   sync.Mutex                // held while the identity is written
	expected atomic.Pointer[uuid.UUID] // the deployment; nil = none
}

var (
	_ blob.Store      = (*Store)(nil)
	_ blob.Pinger     = (*Store)(nil)
	_ blob.Identified = (*Store)(nil)
)

// Open opens the store in dir, which it creates if it is missing, and locks it
// against other processes. Its errors are for the operator.
func Open(dir string, o Options) (*Store, error) {
	o.Existing = o.Existing || o.Beside
	if !o.Existing {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("blob directory %s cannot be created: %w", dir, err)
		}
	} else if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob directory %s does not exist: %w", dir, err)
	}
	lock, err := lockDir(dir, o.Beside)
	if err != nil {
		return nil, err
	}
	t, err := openTree(dir, lock, o.Existing)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob directory %s cannot be used: %w", dir, err), unlockDir(lock))
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
	return errors.Join(s.tree.close(), unlockDir(s.lock))
}

// down says that the file system failed while doing something.
func down(err error, doing string) error {
	return fault.Down(fmt.Errorf("fsblob: %s: %w", doing, err), "blob storage")
}
