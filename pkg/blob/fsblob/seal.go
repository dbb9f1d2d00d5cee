package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/berth-registry/berth/pkg/blob"
)

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
