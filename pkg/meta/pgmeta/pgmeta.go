// Package pgmeta is the metadata store of the cluster shape: one PostgreSQL
// database for any number of nodes.
//
// It takes the steps of the storage protocol under READ COMMITTED, with its
// locks in its order. Transactions run in batches: a statement that needs no
// answer to an earlier one travels with it.
//
// Nothing is ever read from a replica, so a client reads what it has pushed.
// Of several servers in the URL the one that takes writes is used; after a
// failover the old primary must be stopped, or set to read-only, as with any
// client. A synchronous standby makes a failover lose nothing. A database may be
// restored to any moment within Lifetimes.DeleteDelay: objects outlive their rows
// by that, and what a restored row points to is there.
package pgmeta

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of what one tenant may have staged, unless Options say otherwise.
const (
	DefaultMaxStaged   = 1 << 40 // bytes in sessions that are not committed
	DefaultMaxSessions = 20_000  // open and sealed sessions
)

// DefaultTimeout bounds one attempt of a transaction, and one read.
const DefaultTimeout = 5 * time.Second

// Options of a store. Only URL is required.
type Options struct {
	URL       string         // postgres://user:password@host:port/database?…
	Lifetimes meta.Lifetimes // the zero value means meta.DefaultLifetimes

	MaxStaged   int64 // staged bytes of one tenant; 0 = DefaultMaxStaged, < 0 = no limit
	MaxSessions int64 // sessions of one tenant; 0 = DefaultMaxSessions, < 0 = no limit
	Limits      meta.Limits
	MaxConns    int           // connections of this process; 0 = 4 per processor, at least 16
	Timeout     time.Duration // of one attempt and of one read; 0 = DefaultTimeout

	Traces trace.TracerProvider // of requests that are traced; nil = none

	// Observe is told how long each call took, a read or a write, with the wait for
	// a connection and all repetitions; may be nil.
	Observe func(kind string, took time.Duration, err error)

	// ReadOnly is for read-only use: the schema must be current, and the server
	// is told to refuse every write.
	ReadOnly bool
}

func (o Options) withDefaults() Options {
	if o.Lifetimes == (meta.Lifetimes{}) {
		o.Lifetimes = meta.DefaultLifetimes
	}
	if o.MaxStaged == 0 {
		o.MaxStaged = DefaultMaxStaged
	}
	o.Limits = o.Limits.WithDefaults()
	if o.MaxSessions == 0 {
		o.MaxSessions = DefaultMaxSessions
	}
	if o.MaxConns == 0 {
		o.MaxConns = max(16, 4*runtime.GOMAXPROCS(0))
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return o
}

var _ meta.Store = (*Store)(nil)

// Store implements meta.Store. Make one with Open.
type Store struct {
	*sqlmeta.Records
	opts Options
	life meta.Lifetimes
	pool *pgxpool.Pool

	connGate *fairgate.Gate[tenant.ID] // of pool
	answers  atomic.Int64              // of the server; see acquire
	quiet    atomic.Bool               // see Quiesce
	closed   atomic.Bool
	rooms    sqlmeta.Rooms
}

// Open brings the schema up to date and makes a store over the database; any
// number of nodes may do so at once. An invalid URL, a server that cannot be
// reached or takes no writes, a user that it does not let in, a schema newer than
// this binary, and one that is older and may not be changed by the user are
// refused with a sentence for the operator: it names the setting, and never
// holds the password.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	config, err := poolConfig(o)
	if err != nil {
		return nil, err
	}
	if o.ReadOnly {
		err = checkCurrent(ctx, config)
	} else {
		err = Migrate(ctx, o.URL)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, life: o.Lifetimes, connGate: newConnGate(int64(config.MaxConns))}
	s.Records = sqlmeta.New(records{store: s}, o.Limits, o.Lifetimes)
	config.AfterConnect = func(context.Context, *pgx.Conn) error {
		s.answers.Add(1)
		return nil
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, refusal(err)
	}
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(refusal(err), s.Close())
	}
	return s, nil
}

// Close waits for the running transactions and closes all connections.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.pool.Close()
	return nil
}

// Ping says whether the server answers. Where all connections are in use, or the
// one that was idle does not answer, it asks by one of its own: neither is an
// outage, nor is one that does not come while the server answers others.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	answers := s.answers.Load()
	if s.connGate.TryAcquire(prober, 1) {
		err := s.pool.Ping(ctx)
		s.connGate.Release(prober, 1)
		if err == nil {
			return nil
		}
		if s.closed.Load() {
			return down(err)
		}
	}
	c, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	switch {
	case s.crowded(err, answers), s.slow(err, answers):
		return nil
	case err != nil:
		return down(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if err := c.Ping(ctx); err != nil {
		return down(err)
	}
	return nil
}
