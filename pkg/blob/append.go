package blob

import (
	"context"
	"errors"
	"io"

	"github.com/google/uuid"
)

// ErrFenced is returned by Append when a later Append of the same object took
// over; what it writes after that has no effect.
var ErrFenced = errors.New("blob: a later writer took over")

// Appender stores the bytes of upload sessions (protocol section 4).
type Appender interface {
	// Append continues the staged object at s.Offset with what src gives until
	// io.EOF. It takes the object over: an Append of it in this process that has
	// no higher s.Epoch ends with ErrFenced. After each durable step, and at the
	// end, it calls j.Step, in order; bytes past the last Step do not count. An
	// error of src or j, or the end of ctx, ends it and is returned as it is,
	// after the bytes read so far were made durable and offered to j.Step; for
	// this, Step gets a context that outlives ctx. ErrMissing when the store
	// holds less than s.Offset bytes.
	Append(ctx context.Context, s Stage, src Source, j Journal) error
	// Seal makes the staged bytes [0, s.Offset) one durable object under s.Key
	// and returns its size. It is idempotent.
	Seal(ctx context.Context, s Stage) (int64, error)
	// OpenStaged returns the staged bytes [0, s.Offset), maybe with more after
	// them, to be read back; the caller closes it. ErrMissing when the store
	// holds less. A store may have to take the object over for it, ErrFenced
	// when a writer has a higher s.Epoch. The session can continue afterwards.
	OpenStaged(ctx context.Context, s Stage) (io.ReadCloser, error)
}

// Source is the body of an upload, hashed while it is read. Mark returns the
// hash state after exactly the bytes read so far; Append calls it between
// reads, from the goroutine that reads.
type Source interface {
	io.Reader
	Mark() ([]byte, error)
}

// Interrupter is a Source whose Read can be ended from another goroutine.
// Append calls Interrupt when it is fenced or fails while Read may be waiting
// for a slow client, never after it has returned.
type Interrupter interface {
	Interrupt()
}

// Stage describes the stored bytes of a session.
type Stage struct {
	Key       Key
	Epoch     int64  // orders the writers of one object: the highest wins
	Offset    int64  // valid bytes
	Multipart string // the store's own id of a multipart upload; may be empty
	Parts     []Part // in order, without gaps; empty on the file system
	Tail      Tail   // bytes past the last part; zero when there is none
}

// Part is one stored part of a multipart upload.
type Part struct {
	Number int
	Size   int64
	ETag   string // the store's identifier of the part's content
}

// Tail is a small staged object that holds the bytes past the last part.
type Tail struct {
	Incarnation uuid.UUID
	Size        int64
}

// Journal records the progress of an Append in package meta. An error ends
// the Append; one that wraps ErrFenced says another writer owns the session.
type Journal interface {
	// Intend records an object before its first byte is written.
	Intend(ctx context.Context, k Key) error
	// Multipart records the store's id before the first part is written.
	Multipart(ctx context.Context, id string) error
	// Step records that the bytes up to p.Offset are durable. At the offset it
	// already has, it only says whether this writer still owns the session.
	Step(ctx context.Context, p Progress) error
}

// Progress is one durable step.
type Progress struct {
	Offset int64  // valid bytes from now on
	State  []byte // Source.Mark at Offset
	Parts  []Part // parts added since the last step
	Tail   Tail   // the tail at Offset; replaces the one before
}
