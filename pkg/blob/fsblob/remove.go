package fsblob

import (
	"context"
	"errors"
	"io/fs"

	"github.com/berth-registry/berth/pkg/blob"
)

// Delete removes the object's file (see blob.Deleter). It is not made durable:
// a file that a power loss brings back is still condemned, or unknown. A file that is
// being read would keep its space without a name, so it is not removed yet.
func (s *Store) Delete(_ context.Context, k blob.Key, _ string) error {
	if s.readers.of(k).Load() > 0 {
		return blob.ErrInUse
	}
	if err := s.tree.root.Remove(pathOf(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return down(err, "delete an object")
	}
	return nil
}
