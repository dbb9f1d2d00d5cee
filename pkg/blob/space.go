package blob

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/berth-registry/berth/pkg/fault"
)

// Space is the room of a store, in bytes.
type Space struct {
	Free int64 // for anything
	Size int64 // of the whole
	Keep int64 // of Free, what uploads leave
}

// String is for operators.
func (s Space) String() string {
	return fmt.Sprintf("%s of %s free, uploads leave %s",
		humanize.IBytes(uint64(max(s.Free, 0))), humanize.IBytes(uint64(max(s.Size, 0))), humanize.IBytes(uint64(max(s.Keep, 0))))
}

// Check fails where n more bytes would take what is to stay free, and where that
// is taken already.
func (s Space) Check(n int64) error {
	if free := s.Free - s.Keep; free <= 0 || n > free {
		return NoRoom(fmt.Errorf("%s, %d bytes more were wanted", s, n))
	}
	return nil
}

// NoRoom is the fault of a store that is full. It is not an outage: all that is
// there can be read and deleted.
func NoRoom(cause error) error {
	return fault.Wrap(cause, fault.Full, fault.StorageFull,
		"the storage of this registry is full: nothing can be pushed until its operator makes room; pulls and deletions continue").WithRetryAfter(time.Minute)
}

// Measurer is a store that knows its room; a bucket has no end.
type Measurer interface {
	Space(ctx context.Context) (Space, error)
}

// CheckRoom fails with fault.Full where the store has no room for n more bytes, of
// what is known. A store that cannot tell is not full.
func CheckRoom(ctx context.Context, s any, n int64) error {
	m, ok := s.(Measurer)
	if !ok {
		return nil
	}
	space, err := m.Space(ctx)
	if err != nil {
		return err
	}
	return space.Check(max(n, 0))
}
