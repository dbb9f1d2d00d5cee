package fsblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/internal/turns"
)

// takeOver makes the caller the one writer of the object.
func (s *Store) takeOver(ctx context.Context, st blob.Stage) (*turns.Turn, error) {
	turn, err := s.writers.Take(ctx, st.Key, st.Epoch)
	if errors.Is(err, turns.ErrClosed) {
		err = down(err, "take an object over")
	}
	return turn, err
}

// openStaged opens the file to be continued at st.Offset. Bytes past it were
// never recorded and are cut off, but only by a writer that still owns the
// session: to a late one they may be the acknowledged bytes of its successor.
func (s *Store) openStaged(ctx context.Context, st blob.Stage, src blob.Source, j blob.Journal) (*os.File, error) {
	flag := os.O_RDWR
	if st.Offset == 0 {
		flag |= os.O_CREATE
	}
	f, err := s.tree.open(st.Key, flag)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.absent(ctx, fmt.Sprintf("continue at %d", st.Offset))
	case errors.Is(err, fs.ErrPermission) && s.isSealed(st.Key):
		return nil, blob.ErrFenced
	case err != nil:
		return nil, written(err, "open a staged object")
	}
	if err := s.cutToOffset(ctx, f, st, src, j); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *Store) cutToOffset(ctx context.Context, f *os.File, st blob.Stage, src blob.Source, j blob.Journal) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return down(err, "examine a staged object")
	case sealed(info):
		return blob.ErrFenced
	case info.Size() < st.Offset:
		return fmt.Errorf("fsblob: continue at %d of %d bytes: %w", st.Offset, info.Size(), blob.ErrMissing)
	case info.Size() == st.Offset:
		return seekTo(f, st.Offset)
	}
	state, err := src.Mark()
	if err != nil {
		return err
	}
	if err := j.Step(ctx, blob.Progress{Offset: st.Offset, State: state}); err != nil {
		return err
	}
	if err := f.Truncate(st.Offset); err != nil {
		return down(err, "cut a staged object")
	}
	return seekTo(f, st.Offset)
}

func seekTo(f *os.File, offset int64) error {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return down(err, "continue a staged object")
	}
	return nil
}

// sealedMode is the mode of a file that takes no more bytes.
const sealedMode fs.FileMode = 0o440

func sealed(info fs.FileInfo) bool { return info.Mode().Perm()&0o200 == 0 }

// isSealed says whether the object is there and sealed.
func (s *Store) isSealed(k blob.Key) bool {
	info, err := s.tree.root.Lstat(pathOf(k))
	return err == nil && sealed(info)
}

// Seal ends the writing of the object (see blob.Appender). The bytes up to
// st.Offset are durable since the step that recorded them.
func (s *Store) Seal(ctx context.Context, st blob.Stage) (int64, error) {
	turn, err := s.takeOver(ctx, st)
	if err != nil {
		return 0, err
	}
	defer turn.End()
	info, err := s.tree.root.Lstat(pathOf(st.Key))
	switch {
	case errors.Is(err, fs.ErrNotExist) && st.Offset > 0:
		return 0, s.absent(ctx, "seal")
	case errors.Is(err, fs.ErrNotExist):
		// An empty blob: no Append came before.
	case err != nil:
		return 0, down(err, "examine a staged object")
	case info.Size() < st.Offset:
		return 0, fmt.Errorf("fsblob: seal %d of %d bytes: %w", st.Offset, info.Size(), blob.ErrMissing)
	case sealed(info):
		return info.Size(), nil
	}
	return st.Offset, s.sealFile(st, err != nil || info.Size() > st.Offset)
}

// sealFile gives the file its final length and mode. The mode comes last, so
// that a sealed file is a finished one.
func (s *Store) sealFile(st blob.Stage, unfinished bool) error {
	flag := os.O_RDWR
	if unfinished {
		flag |= os.O_CREATE
	}
	f, err := s.tree.open(st.Key, flag)
	if err != nil {
		return down(err, "open a staged object")
	}
	if unfinished {
		err = errors.Join(f.Truncate(st.Offset), s.tree.flush(f), s.tree.settle(st.Key))
	}
	if err == nil {
		err = f.Chmod(sealedMode)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return down(err, "seal an object")
	}
	return nil
}

// The space left free unless Options.MinFree is set, so that the database,
// usually on the same disk, can still record deletions.
const (
	defaultMinFree = 1 << 30
	minFreePart    = 20 // of a small disk, one in that many bytes
)

// Space says how much room there is for objects.
func (s *Store) Space(context.Context) (blob.Space, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return blob.Space{}, down(err, "read the free space")
	}
	block := int64(fs.Bsize) //nolint:unconvert // another type on other systems
	size := int64(fs.Blocks) * block
	return blob.Space{
		Free: int64(fs.Bavail) * block,
		Size: size,
		Keep: cmp.Or(s.minFree, min(defaultMinFree, size/minFreePart)),
	}, nil
}

// checkRoom fails if n more bytes would use the reserved space.
func (s *Store) checkRoom(ctx context.Context, n int64) error {
	space, err := s.Space(ctx)
	if err != nil {
		return err
	}
	return space.Check(n)
}

// written is the error for a failed write: a full disk is not an
// outage.
func written(err error, doing string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return blob.NoRoom(fmt.Errorf("fsblob: %s: %w", doing, err))
	}
	return down(err, doing)
}
