package s3blob

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
)

// isWhole says whether what is known of a session's bytes accounts for all.
func isWhole(st blob.Stage) bool {
	var n int64
	for i, p := range st.Parts {
		if p.Number != i+1 {
			return false
		}
		n += p.Size
	}
	if st.Tail.Incarnation == uuid.Nil && st.Tail.Size > 0 || len(st.Parts) > 0 && st.Multipart == "" {
		return false
	}
	return n+st.Tail.Size == st.Offset
}

// tail reads the session's tail back, empty when there is none. The caller frees
// it.
func (s *Store) tail(ctx context.Context, st blob.Stage) (*spool, error) {
	sp := s.pool.spool(st.Key.Tenant)
	if st.Tail.Incarnation == uuid.Nil {
		return sp, nil
	}
	c, err := s.openTail(ctx, st)
	if err == nil {
		err = errors.Join(sp.fill(c, idle), c.Close())
	}
	if err != nil {
		sp.free()
		return nil, err
	}
	return sp, nil
}

// OpenStaged reads staged bytes back (see blob.Appender). Parts of a multipart
// upload cannot be read: it is ended, so that there is an object to read. An
// Append that comes after all starts another (reopen).
func (s *Store) OpenStaged(ctx context.Context, st blob.Stage) (io.ReadCloser, error) {
	switch {
	case !isWhole(st):
		return nil, missing("read a staged object back")
	case st.Offset == 0:
		return io.NopCloser(bytes.NewReader(nil)), nil
	case len(st.Parts) == 0:
		return s.openTail(ctx, st)
	}
	if _, err := s.Seal(ctx, st); err != nil {
		return nil, err
	}
	return s.Open(ctx, st.Key)
}
