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
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
)

// ErrMissing is returned for an object that the store does not hold. It is not
// an outage; any other error says nothing about existence.
var ErrMissing = errors.New("blob: object is missing")

// ErrInUse is returned by Delete for an object that is being read, in a store whose disk
// the reader would keep full. The object stays; delete it later.
var ErrInUse = errors.New("blob: object is being read")

// ErrDamaged is what a Read of Content fails with when the store answers with
// other bytes than were stored (fault R31).
var ErrDamaged = errors.New("blob: object is not what was stored")

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

// Range is the part [From, To) of an object, in bytes; the zero Range is all of it.
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

// Presign returns a URL of the object at a Presigner, and "" at other stores,
// whose bytes have to be sent.
func Presign(ctx context.Context, o Opener, k Key, life time.Duration) (string, error) {
	if p, ok := o.(Presigner); ok {
		return p.Presign(ctx, k, life)
	}
	return "", nil
}

// Pinger is a store with a cheaper health check than looking for an object. Use
// Ping for any store.
type Pinger interface {
	// Ping fails when the store cannot be asked for objects.
	Ping(ctx context.Context) error
}

// Ping says whether a store responds, for readiness. For a store that is not a
// Pinger, the absence of a random object is a response.
func Ping(ctx context.Context, o Opener) error {
	if p, ok := o.(Pinger); ok {
		return p.Ping(ctx)
	}
	if _, err := o.Stat(ctx, Key{}); !errors.Is(err, ErrMissing) {
		return err
	}
	return nil
}

// Content is an open object. If it is also a syscall.Conn, as on the file
// system, http.ServeContent sends it by sendfile: do not wrap it, since a wrapper would hide that.
type Content interface {
	io.ReadSeekCloser
	// Size is the object's length in bytes.
	Size() int64
}

// ReadError is the error of the last Read of c, for callers that handed c to code
// that hides it: nil if it did not fail, and for content that does not remember it.
func ReadError(c Content) error {
	if f, ok := c.(interface{ ReadError() error }); ok {
		return f.ReadError()
	}
	return nil
}

// WholeOnly says whether c can be served only as a whole, from its beginning, so that a
// range of it cannot.
func WholeOnly(c Content) bool {
	w, ok := c.(interface{ WholeOnly() bool })
	return ok && w.WholeOnly()
}

// Deleter removes objects.
type Deleter interface {
	// Delete removes the object and aborts its multipart upload if there is
	// one. A missing object is success; ErrInUse may be returned for one that is open.
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

// Space is the capacity of a store, in bytes.
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
		return NoRoom(fmt.Errorf("%s, %d more bytes requested", s, n))
	}
	return nil
}

// NoRoom is the fault of a full store. It is not an outage: its content can be
// read and deleted.
func NoRoom(cause error) error {
	return fault.Wrap(cause, fault.Full, fault.StorageFull,
		"the storage of this registry is full: pushes fail until its operator frees space; pulls and deletions continue").WithRetryAfter(time.Minute)
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
