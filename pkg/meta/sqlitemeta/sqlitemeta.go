// Package sqlitemeta is the metadata store of the embedded deployment: one SQLite
// file, one process, one writer that commits for all waiting callers.
//
// It takes the steps of the storage protocol. Since writers run one after the
// other, its row locks are not needed; the order of decisions, the
// compare-and-sets and the rules about "0 rows" are.
package sqlitemeta

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// Bounds of what one tenant may have staged, unless Options say otherwise.
const (
	defaultMaxStaged   = 1 << 40 // bytes in sessions that are not committed
	defaultMaxSessions = 20_000  // open and sealed sessions
)

// The files of the directory.
const (
	FileName = "meta.db" // and what SQLite keeps beside it
	lockName = "meta.lock"
)

// Options of a store. Only Dir is required.
type Options struct {
	Dir       string           // holds meta.db and meta.lock; made if absent
	Now       func() time.Time // the clock; default time.Now
	Lifetimes meta.Lifetimes   // the zero value means meta.DefaultLifetimes

	MaxStaged   int64 // staged bytes of one tenant; 0 = 1 TiB, < 0 = no limit
	MaxSessions int64 // sessions of one tenant; 0 = 20,000, < 0 = no limit
	Limits      meta.Limits
	Readers     int // connections that read; 0 = 4 per processor

	// Observe is told how long each call took, a read or a write, with the wait for
	// its turn; may be nil.
	Observe func(kind string, took time.Duration, err error)

	// ReadOnly opens what is there as it is: nothing is made, migrated or written
	// but what SQLite does by itself to finish a log that a killed process left.
	ReadOnly bool
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lifetimes == (meta.Lifetimes{}) {
		o.Lifetimes = meta.DefaultLifetimes
	}
	if o.MaxStaged == 0 {
		o.MaxStaged = defaultMaxStaged
	}
	o.Limits = o.Limits.WithDefaults()
	if o.MaxSessions == 0 {
		o.MaxSessions = defaultMaxSessions
	}
	if o.Readers == 0 {
		o.Readers = 4 * runtime.GOMAXPROCS(0)
	}
	return o
}

var _ meta.Store = (*Store)(nil)

// Store implements meta.Store. Make one with Open.
type Store struct {
	*sqlmeta.Records
	opts   Options
	life   meta.Lifetimes
	lock   *os.File
	writer *writer
	reader *reader
	rooms  sqlmeta.Rooms

	quiet   atomic.Bool // see Quiesce
	closing sync.Once
}

func newStore(o Options) *Store {
	s := &Store{opts: o, life: o.Lifetimes}
	s.Records = sqlmeta.New(records{store: s}, o.Limits, o.Lifetimes)
	return s
}

// now is the time in microseconds, as the database stores it.
func (s *Store) now() int64 { return s.opts.Now().UnixMicro() }

// Open locks the directory for this process, brings the schema up to date and
// starts the writer. A directory in use, and a schema newer than this binary,
// are refused with a sentence for the operator.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if o.ReadOnly {
		return openReadOnly(ctx, o)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be created: %w", o.Dir, err)
	}
	s := newStore(o)
	var err error
	if s.lock, err = lockFile(filepath.Join(o.Dir, lockName), os.O_CREATE); err != nil {
		return nil, err
	}
	if err := s.open(ctx, filepath.Join(o.Dir, FileName)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, file string) error {
	if err := makePrivate(file); err != nil {
		return err
	}
	now := &atomic.Int64{}
	db, err := openDB(dsn(file,
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "cache_size(-16384)"), now.Load)
	if err != nil {
		return err
	}
	// One connection: what the migrations see, the writer continues on.
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	if s.writer, err = startWriter(ctx, db, s.opts.Now, now); err != nil {
		return errors.Join(err, db.Close())
	}
	s.reader, err = openReader(dsn(file, "busy_timeout(10000)", "query_only(1)"), s.now, s.opts.Readers)
	return err
}

// makePrivate makes the file before SQLite does, which would let everyone read
// it where the directory was there already: the file holds the keys that sign
// tokens. SQLite gives its companions, -wal and -shm, the same mode.
func makePrivate(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// dsn names a database file and the pragmas of each of its connections. Journals
// of statements and sorted rows stay in memory: the data directory may be the
// only place that this process can write to, and no other disk is to fail it.
func dsn(file string, pragmas ...string) string {
	pragmas = append(pragmas, "temp_store(MEMORY)")
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}
	u.RawQuery = url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}.Encode()
	return u.String()
}

// Close waits for the running writes and gives the directory free. Only the
// first call does anything.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() { err = s.close() })
	return err
}

func (s *Store) close() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.reader != nil {
		errs = append(errs, s.reader.close())
	}
	if s.lock != nil {
		errs = append(errs, unlockFile(s.lock))
	}
	return errors.Join(errs...)
}

// Ping checks that the file can be read and the writer makes progress.
func (s *Store) Ping(ctx context.Context) error {
	if s.writer != nil && s.writer.stopped() {
		return fault.Down(errClosed, "the metadata store")
	}
	if s.writer != nil {
		if err := s.writer.stuck(stuckAfter); err != nil {
			return fault.Down(err, "the metadata store")
		}
	}
	var one int
	_, err := s.find(ctx, `SELECT 1`, nil, &one)
	return err
}
