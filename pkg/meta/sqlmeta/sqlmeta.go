// Package sqlmeta reads and writes configured records, such as tenants, registries
// and accounts: the part of a metadata store that all SQL databases share. The
// stores embed Records, and implement the storage protocol, with uploads, manifests
// and the collector, themselves.
//
// Statements run unchanged on PostgreSQL and on SQLite. Both have $1, RETURNING, a
// function berth_now, and TRUE. CAST(x AS interval) makes an interval on PostgreSQL
// and an integer, of microseconds, on SQLite. Where the databases differ, such as
// in locks, which only PostgreSQL needs, there are two statements, and Dialect.Pick
// chooses.
package sqlmeta

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Dialect has the differences in the statements and arguments of the databases.
type Dialect interface {
	// Pick returns the statement for this database.
	Pick(sqlite, postgres string) string
	// Time is the argument for a time; NULL for the zero time.
	Time(time.Time) any
	// Interval is the argument of CAST($n AS interval).
	Interval(time.Duration) any
}

// Engine runs statements on one database.
type Engine interface {
	Dialect
	// Read calls begin, and then each for every row of a query. It starts again when
	// the connection was lost.
	Read(ctx context.Context, owner tenant.ID, query string, args []any, begin func(), each func(Scan) error) error
	// Write runs fn as one transaction and returns after it is durable. fn may run
	// several times: it sets its results, it never adds to them.
	Write(ctx context.Context, owner tenant.ID, fn func(Tx) error) error
}

// Tx is a writing transaction.
type Tx interface {
	Dialect
	// Exec runs a statement and returns how many rows it changed.
	Exec(query string, args ...any) (int64, error)
	// Queue is Exec for a statement whose result is not needed. It may run as late as
	// COMMIT; then Engine.Write returns its error.
	Queue(query string, args ...any) error
	// Find scans the first row into dest; false without rows.
	Find(query string, args []any, dest ...any) (bool, error)
	// List calls each for every row. It reads all of them before another statement runs,
	// so each must not use the transaction.
	List(query string, args []any, each func(Scan) error) error
	// OnViolation sets the error of the transaction if a later statement violates the
	// constraint.
	OnViolation(constraint string, err error)
}

// Scan copies the columns of a row.
type Scan func(dest ...any) error

// Errors that end an attempt of a transaction and are not returned.
var (
	// ErrAlreadyDone means that an earlier attempt of the operation was committed.
	// Engine.Write rolls back and returns nil.
	ErrAlreadyDone = errors.New("sqlmeta: already done")
	// ErrRestart means that something changed between two statements. Engine.Write
	// runs the transaction again.
	ErrRestart = errors.New("sqlmeta: start again")
)

// noTenant is the owner of work without a tenant, or before the tenant of a request
// is known.
const noTenant tenant.ID = 0

// Records implements the contracts of package meta for configured records.
type Records struct {
	engine    Engine
	limits    meta.Limits
	lifetimes meta.Lifetimes

	searched atomic.Int64 // the tenant whose changes were indexed last
}

// New makes the records of a database.
func New(e Engine, limits meta.Limits, lifetimes meta.Lifetimes) *Records {
	return &Records{engine: e, limits: limits, lifetimes: lifetimes}
}

// list reads all rows of a query.
func list[T any](ctx context.Context, s *Records, owner tenant.ID, read func(Scan) (T, error), query string, args ...any) ([]T, error) {
	var rows []T
	err := s.engine.Read(ctx, owner, query, args, func() { rows = []T{} }, func(scan Scan) error {
		row, err := read(scan)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// find reads the first row of a query; missing is the error without rows.
func find[T any](ctx context.Context, s *Records, owner tenant.ID, missing error, read func(Scan) (T, error), query string, args ...any) (T, error) {
	rows, err := list(ctx, s, owner, read, query, args...)
	return One(rows, err, missing)
}

// One is the first of the rows; missing is the error without rows.
func One[T any](rows []T, err, missing error) (T, error) {
	var zero T
	switch {
	case err != nil:
		return zero, err
	case len(rows) == 0:
		return zero, missing
	default:
		return rows[0], nil
	}
}

// timeScanner reads a time, which SQLite stores in microseconds; NULL is the zero
// time.
type timeScanner struct{ to *time.Time }

// Scan implements sql.Scanner.
func (s timeScanner) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = time.Time{}
	case int64:
		*s.to = time.UnixMicro(v).UTC()
	case time.Time:
		*s.to = v.UTC()
	default:
		return fmt.Errorf("sqlmeta: %T is not a time", v)
	}
	return nil
}

// ScanTime reads a column of a time.
func ScanTime(to *time.Time) sql.Scanner { return timeScanner{to} }

// textScanner reads a text; NULL is the empty one.
type textScanner struct{ to *string }

// Scan implements sql.Scanner.
func (s textScanner) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = ""
	case string:
		*s.to = v
	case []byte:
		*s.to = string(v)
	default:
		return fmt.Errorf("sqlmeta: %T is not a text", v)
	}
	return nil
}

// textOrNull is the argument for a text; NULL for the empty one.
func textOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// jsonScanner decodes JSON into a pointer to a zero value.
type jsonScanner struct{ to any }

// Scan implements sql.Scanner.
func (s jsonScanner) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), s.to)
	case []byte:
		return json.Unmarshal(v, s.to)
	default:
		return fmt.Errorf("sqlmeta: %T is not JSON", v)
	}
}

// hashScanner reads a SHA-256.
type hashScanner struct{ to *[32]byte }

// Scan implements sql.Scanner.
func (s hashScanner) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(s.to) {
		return fmt.Errorf("sqlmeta: %T is not a SHA-256", v)
	}
	copy(s.to[:], b)
	return nil
}

// RegistryTarget is the target of events of a registry.
func RegistryTarget(slug string) string { return "registries/" + slug }

// UpstreamTarget is the target of events of an upstream.
func UpstreamTarget(slug string) string { return "upstreams/" + slug }
