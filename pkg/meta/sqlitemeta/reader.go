package sqlitemeta

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// reader is a pool of connections that cannot write. Each of its statements
// sees everything that was committed before it began.
type reader struct {
	db     *sql.DB
	stmts  sync.Map    // *sql.Stmt by their text
	closed atomic.Bool // database/sql's own error for it cannot be distinguished
}

func openReader(dsn string, now func() int64, connections int) (*reader, error) {
	db, err := openDB(dsn, now)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &reader{db: db}, nil
}

func (r *reader) close() error {
	r.closed.Store(true)
	return r.db.Close()
}

// statement returns the prepared form of query, which is a constant.
func (r *reader) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if r.closed.Load() {
		return nil, fault.Down(errClosed, "the metadata store")
	}
	if st, ok := r.stmts.Load(query); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, raced := r.stmts.LoadOrStore(query, st); raced {
		return first.(*sql.Stmt), st.Close()
	}
	return st, nil
}

// scan copies the columns of a row.
type scan = sqlmeta.Scan

// find scans the first row into dest; false without rows.
func (s *Store) find(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	began := time.Now()
	st, err := s.reader.statement(ctx, query)
	found := false
	if err == nil {
		found, err = findRow(st.QueryContext(ctx, args...))(dest...)
	}
	err = translate(err)
	s.observed("read", began, err)
	return found, err
}

// list calls each for every row.
func (s *Store) list(ctx context.Context, query string, args []any, each func(scan scan) error) error {
	began := time.Now()
	st, err := s.reader.statement(ctx, query)
	if err == nil {
		err = eachRow(st.QueryContext(ctx, args...))(each)
	}
	err = translate(err)
	s.observed("read", began, err)
	return err
}

// findRow and eachRow take what a query returned and say how its rows are read;
// they close it.

func findRow(rows *sql.Rows, err error) func(dest ...any) (bool, error) {
	return func(dest ...any) (bool, error) {
		if err != nil {
			return false, err
		}
		if !rows.Next() {
			return false, errors.Join(rows.Err(), rows.Close())
		}
		// A statement with RETURNING has taken effect only when it is drained.
		err := rows.Scan(dest...)
		for rows.Next() {
			continue
		}
		return err == nil, errors.Join(err, rows.Err(), rows.Close())
	}
}

func eachRow(rows *sql.Rows, err error) func(each func(scan scan) error) error {
	return func(each func(scan scan) error) error {
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := each(rows.Scan); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		return errors.Join(rows.Err(), rows.Close())
	}
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, s *Store, read func(scan) (T, error), query string, args ...any) ([]T, error) {
	rows := []T{}
	err := s.list(ctx, query, args, func(scan scan) error {
		row, err := read(scan)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}
