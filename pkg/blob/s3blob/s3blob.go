// Package s3blob keeps objects in a bucket of any S3-compatible store, which
// many processes share.
//
// A large object is a multipart upload straight to its final key: nothing is
// copied when it goes live. Part n always holds the same bytes of the object, so
// a late writer cannot do harm. Bytes short of a part are a small staged object
// of their own, the tail. An object that never reached a part is written from
// its tail by Seal: to let the tail take the blob's place would move the key
// that package meta chose at the start, and costs no more than the few MiB that
// are written again.
package s3blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/internal/turns"
	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/fault"
)

// The values of Options that are zero.
const (
	DefaultPartBytes   = 16 << 20
	DefaultMemoryBytes = 128 << 20
	DefaultStall       = 20 * time.Second
	DefaultPatience    = 5 * time.Minute
	DefaultBackoff     = time.Second
)

// Options tune a Store; the zero value is right for use.
type Options struct {
	PartBytes   int64         // of every part but the last; S3 takes no fewer than 5 MiB
	MemoryBytes int64         // for the bytes of all uploads; what is more goes to SpoolDir
	SpoolDir    string        // of unlinked temporary files; "" = the system's
	Stall       time.Duration // after which a request that makes no progress is given up
	Patience    time.Duration // with a request that ends a multipart upload, instead of Stall
	Backoff     time.Duration // the longest wait between two tries of a request

	// Observe is told of each request how long the store took to answer it, by the
	// operation of S3, with the status; 0 where there was no answer. May be nil.
	Observe func(operation string, took time.Duration, status int)

	ReadOnly bool // for read-only use: nothing is written to see whether that can be done
}

// Store is a blob.Store in a bucket. It is safe for concurrent use.
type Store struct {
	client    *s3.Client
	presigner *s3.PresignClient
	bucket    string
	partBytes int64
	pool      *pool
	sends     *fairgate.Gate[int64] // of pieces that are being sent, by tenant
	writers   turns.Table
	expected  atomic.Pointer[uuid.UUID] // the deployment; nil = none
}

var (
	_ blob.Store       = (*Store)(nil)
	_ blob.RangeOpener = (*Store)(nil)
	_ blob.Presigner   = (*Store)(nil)
	_ blob.Pinger      = (*Store)(nil)
	_ blob.Identified  = (*Store)(nil)
)

// Open opens the store at an address like
//
//	s3://bucket?endpoint=http://127.0.0.1:9000&region=us-east-1&path_style=true
//
// with the credentials that the usual AWS chain finds, and makes sure that the
// bucket is there and, unless it is only read, takes objects. Without an endpoint it is one of AWS.
//
// Where clients are redirected to the store (Presign) and reach it by another
// name, public_endpoint is that name. It has to lead to the store with its Host
// unchanged, and must not be a registry's host or below one: clients would send
// their registry token along, which S3 refuses beside a signature.
//
// Its errors are for the operator; they name the setting blobs.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	a, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	o.Stall = cmp.Or(o.Stall, DefaultStall)
	o.Patience = cmp.Or(o.Patience, DefaultPatience)
	o.Backoff = cmp.Or(o.Backoff, DefaultBackoff)
	client, err := newClient(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("blobs: the S3 client cannot be configured: %w", err)
	}
	s := &Store{
		client:    client,
		presigner: newPresigner(client, a),
		bucket:    a.bucket,
		partBytes: cmp.Or(o.PartBytes, DefaultPartBytes),
		pool:      newPool(cmp.Or(o.MemoryBytes, DefaultMemoryBytes), o.SpoolDir),
		sends:     fairgate.New[int64](fairgate.Options{Capacity: maxSends}),
	}
	if err := s.probe(ctx, a, !o.ReadOnly); err != nil {
		return nil, err
	}
	return s, nil
}

// Sends are the statistics of pieces that waited to be sent.
func (s *Store) Sends() fairgate.Stats { return s.sends.Stats() }

// Close fences the running writers and waits until they have let go. Open
// contents stay readable.
func (s *Store) Close() error {
	s.writers.Close()
	s.pool.close()
	return nil
}

// down says that the store failed while doing something. A connection that
// breaks may wrap io.EOF, which to a reader is a clean end: that is cut off.
func down(err error, doing string) error {
	if errors.Is(err, io.EOF) {
		err = errors.New(err.Error())
	}
	return fault.Down(fmt.Errorf("s3blob: %s: %w", doing, err), "blob storage")
}

// missing says that something that was stored is not there.
func missing(doing string) error {
	return fmt.Errorf("s3blob: %s: %w", doing, blob.ErrMissing)
}
