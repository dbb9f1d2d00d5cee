package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

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
