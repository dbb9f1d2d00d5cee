package fsblob

import (
	"context"
	"errors"
	"io/fs"

	"github.com/berth-registry/berth/pkg/blob"
)

// Delete removes the object's file (see blob.Deleter). It is not made durable:
// a file that a power loss brings back is still condemned, or unknown.
func (s *Store) Delete(_ context.Context, k blob.Key, _ string) error {
	if err := s.tree.root.Remove(pathOf(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return down(err, "delete an object")
	}
	return nil
}
