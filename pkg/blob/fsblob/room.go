package fsblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/berth-registry/berth/pkg/blob"
)

// The room that is left free unless Options.MinFree says how much: so that the
// database, which lies on the same disk as a rule, can still record deletions.
const (
	defaultMinFree = 1 << 30
	minFreePart    = 20 // of a small disk, one in that many bytes
)

// Space says how much room there is for objects.
func (s *Store) Space(context.Context) (blob.Space, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return blob.Space{}, down(err, "look how much room there is")
	}
	block := int64(fs.Bsize) //nolint:unconvert // another type on other systems
	size := int64(fs.Blocks) * block
	return blob.Space{
		Free: int64(fs.Bavail) * block,
		Size: size,
		Keep: cmp.Or(s.minFree, min(defaultMinFree, size/minFreePart)),
	}, nil
}

// checkRoom fails where n more bytes would take what is to stay free.
func (s *Store) checkRoom(ctx context.Context, n int64) error {
	space, err := s.Space(ctx)
	if err != nil {
		return err
	}
	return space.Check(n)
}

// written is the error for a write that failed: one that the disk has no room
// for is not an outage.
func written(err error, doing string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return blob.NoRoom(fmt.Errorf("fsblob: %s: %w", doing, err))
	}
	return down(err, doing)
}
