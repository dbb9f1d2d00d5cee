// Package pgmeta is the metadata store of the cluster shape: one PostgreSQL
// database for any number of nodes.
//
// It takes the steps of the storage protocol under READ COMMITTED, with its
// locks in its order. Transactions run in batches: a statement that needs no
// answer to an earlier one travels with it.
package pgmeta

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-registry/berth/pkg/meta"
)

// Bounds of what one tenant may have staged, unless Options say otherwise.
const (
	DefaultMaxStaged   = 1 << 40 // bytes in sessions that are not committed
	DefaultMaxSessions = 20_000  // open and sealed sessions
)

// maxConns is more than any server takes.
const maxConns = 10_000

// DefaultTimeout bounds one attempt of a transaction, and one read.
const DefaultTimeout = 5 * time.Second

// Options of a store. Only URL is required.
type Options struct {
	URL       string         // postgres://user:password@host:port/database?…
	Lifetimes meta.Lifetimes // the zero value means meta.DefaultLifetimes

	MaxStaged   int64         // staged bytes of one tenant; 0 = DefaultMaxStaged, < 0 = no limit
	MaxSessions int64         // sessions of one tenant; 0 = DefaultMaxSessions, < 0 = no limit
	MaxConns    int           // connections of this process; 0 = 4 per processor, at least 16
	Timeout     time.Duration // of one attempt and of one read; 0 = DefaultTimeout
}

func (o Options) withDefaults() Options {
	if o.Lifetimes == (meta.Lifetimes{}) {
		o.Lifetimes = meta.DefaultLifetimes
	}
	if o.MaxStaged == 0 {
		o.MaxStaged = DefaultMaxStaged
	}
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
	opts Options
	life meta.Lifetimes
	pool *pgxpool.Pool
}

// Open connects and brings the schema up to date; any number of nodes may do
// so at once. A server that cannot be reached, one that may lose what it has
// acknowledged, and a schema newer than this binary are refused with a sentence
// for the operator, which never holds the password.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	config, err := poolConfig(o)
	if err != nil {
		return nil, err
	}
	if err := Migrate(ctx, o.URL); err != nil {
		return nil, err
	}
	s := &Store{opts: o, life: o.Lifetimes}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("connect to the metadata store: %w", err)
	}
	if err := s.safe(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// The session's settings (protocol section 3). Whoever names one of them in the
// URL has chosen.
var sessionSettings = map[string]string{
	"application_name":                    "berth",
	"default_transaction_isolation":       "read committed",
	"lock_timeout":                        "2s",
	"idle_in_transaction_session_timeout": "5s",
	"timezone":                            "UTC",
}

func poolConfig(o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the URL of the metadata store: %w", err)
	}
	for name, value := range sessionSettings {
		if _, chosen := config.ConnConfig.RuntimeParams[name]; !chosen {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTime
	}
	if config.ConnConfig.ValidateConnect == nil {
		// After a failover the old primary, or a standby, is no server to write to.
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.MaxConns = int32(min(o.MaxConns, maxConns))
	return config, nil
}

const findDurability = `SELECT current_setting('synchronous_commit')`

// safe refuses a server that acknowledges what it may lose (protocol section 7).
func (s *Store) safe(ctx context.Context) error {
	var durability string
	if _, err := s.find(ctx, findDurability, nil, &durability); err != nil {
		return err
	}
	if durability == "off" {
		return errors.New("the metadata store runs with synchronous_commit = off and may lose acknowledged pushes: set it to on for this database")
	}
	return nil
}

// Close waits for the transactions under way and closes all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Ping says whether the server answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	_, err := s.find(ctx, `SELECT 1`, nil, &one)
	return err
}
