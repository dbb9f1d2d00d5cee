// Package blob is the contract of the stores that hold bytes: objects under
// random keys that are written once, never renamed and never used again.
//
// A store knows nothing of digests, repositories or rights; package meta
// decides which object is live. Every implementation passes blobtest.
//
// A store that cannot do its work (full, broken, unreachable) returns a
// *fault.Error of kind Unavailable.
package blob

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// ErrMissing is returned for an object that the store does not hold. It is an
// answer, not an outage: any other error says nothing about existence.
var ErrMissing = errors.New("blob: object is missing")

// ErrDamaged is what a Read of Content fails with when the store answers with
// something else than was stored (fault R31).
var ErrDamaged = errors.New("blob: object is not what was stored")

// ErrFenced is returned by Append when a later Append of the same object took
// over; nothing written after that counts.
var ErrFenced = errors.New("blob: a later writer took over")

// Key names one physical object. It contains no client text (contract row D9).
type Key struct {
	Tenant      int64
	Incarnation uuid.UUID
}

// String is the key in the store: o/<tenant>/<incarnation>.
func (k Key) String() string {
	return "o/" + strconv.FormatInt(k.Tenant, 10) + "/" + k.Incarnation.String()
}

// Store is a whole store. Consumers ask for the small contracts they need.
// All methods are safe for concurrent use.
type Store interface {
	Opener
	Appender
	Deleter
	Lister
}

// Opener reads objects.
type Opener interface {
	// Open returns the object's content; the caller closes it. ErrMissing when
	// the object does not exist.
	Open(ctx context.Context, k Key) (Content, error)
	// Stat returns the object's size in bytes; ErrMissing when there is none.
	Stat(ctx context.Context, k Key) (int64, error)
}

// Range is the part [From, To) of an object, in bytes. The zero Range is all of
// it.
type Range struct{ From, To int64 }

// RangeOpener is a store to which it matters what will be read. Use OpenRange to
// ask any store.
type RangeOpener interface {
	// OpenRange is Open for a caller that will read r first, r.To being at most
	// the object's size as far as the caller knows. All of the content can be
	// read, but the rest may cost the store more.
	OpenRange(ctx context.Context, k Key, r Range) (Content, error)
}

// OpenRange opens an object of which r will be read first.
func OpenRange(ctx context.Context, o Opener, k Key, r Range) (Content, error) {
	if ro, ok := o.(RangeOpener); ok {
		return ro.OpenRange(ctx, k, r)
	}
	return o.Open(ctx, k)
}

// MaxPresignLife is how long a presigned URL may live (contract row F1). Objects
// outlive their blobs by more.
const MaxPresignLife = 5 * time.Minute

// Presigner is a store that lets a client fetch an object from it directly. Use
// Presign to ask any store.
type Presigner interface {
	// Presign returns a URL that answers GET, and nothing else, with the
	// object's content until life has passed, at most MaxPresignLife. It does
	// not check whether the object exists.
	Presign(ctx context.Context, k Key, life time.Duration) (string, error)
}

// Presign returns a URL of the object at a store that is a Presigner, and "" at
// one that is none: its bytes are to be sent.
func Presign(ctx context.Context, o Opener, k Key, life time.Duration) (string, error) {
	if p, ok := o.(Presigner); ok {
		return p.Presign(ctx, k, life)
	}
	return "", nil
}

// Pinger is a store that says whether it answers faster than by looking for an
// object, which it may do more than once. Use Ping to ask any store.
type Pinger interface {
	// Ping fails when the store cannot be asked for objects.
	Ping(ctx context.Context) error
}

// Ping says whether a store answers at all, for readiness. Where the store is not
// a Pinger, that an object that does not exist is missing is an answer.
func Ping(ctx context.Context, o Opener) error {
	if p, ok := o.(Pinger); ok {
		return p.Ping(ctx)
	}
	if _, err := o.Stat(ctx, Key{}); !errors.Is(err, ErrMissing) {
		return err
	}
	return nil
}

// Content is an open object. Where it also is a syscall.Conn, as on the file
// system, http.ServeContent sends it by sendfile: hand it over as it is, since a
// wrapper that reads on its behalf would hide that.
type Content interface {
	io.ReadSeekCloser
	// Size is the object's length in bytes.
	Size() int64
}

// ReadError says what the last Read of c failed with, for callers that handed c
// to code that does not: nil where it did not fail, and at stores whose
// content does not remember it.
func ReadError(c Content) error {
	if f, ok := c.(interface{ ReadError() error }); ok {
		return f.ReadError()
	}
	return nil
}

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

// Stage is what is known of a session's bytes.
type Stage struct {
	Key       Key
	Epoch     int64  // orders the writers of one object: the highest wins
	Offset    int64  // bytes that count
	Multipart string // the store's own id of a multipart upload; may be empty
	Parts     []Part // in order, without gaps; empty on the file system
	Tail      Tail   // bytes past the last part; zero when there is none
}

// Part is one stored part of a multipart upload.
type Part struct {
	Number int
	Size   int64
	ETag   string // the store's own word for the part's content
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
	Offset int64  // bytes that count from now on
	State  []byte // Source.Mark at Offset
	Parts  []Part // parts added since the last step
	Tail   Tail   // the tail at Offset; replaces the one before
}

// Deleter removes objects.
type Deleter interface {
	// Delete removes the object and aborts its multipart upload if there is
	// one. A missing object is success.
	Delete(ctx context.Context, k Key, multipart string) error
}

// Lister walks the store, for fsck and the reconciler.
type Lister interface {
	// List calls fn for every stored object in no order, until fn fails. Keys
	// that are not the store's are passed as Foreign.
	List(ctx context.Context, fn func(Stored) error) error
}

// Stored is one object as the store sees it.
type Stored struct {
	Key     Key
	Size    int64
	Changed time.Time // last written, by the store's clock
	Foreign string    // the path of something that is not an object of this store; Key is zero then
}
