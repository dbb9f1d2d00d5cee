package pgmeta

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
)

// tx is one attempt of a writing transaction. Statements are queued, and sent
// together by the next flush; each sees what was committed before it began.
type tx struct {
	ctx              context.Context
	conn             *pgx.Conn
	queued           *pgx.Batch
	violations       map[string]error // the errors, by violated constraint
	mayHaveCommitted bool             // an earlier attempt may have been committed
	committed        bool
	crowded          bool // what was deleted has to go sooner, for what the tenant pushed
	grew             bool // it inserts a repository, or tags, that the tenant is charged for
}

// queue adds a statement; its result is available after the next flush. Statements
// still queued when a transaction's function returns are sent with COMMIT: they
// must raise an error if they must not be committed.
func (t *tx) queue(query string, args ...any) *pgx.QueuedQuery { return t.queued.Queue(query, args...) }

// flush sends the queued statements, in one round trip.
func (t *tx) flush() error {
	b := t.queued
	t.queued = &pgx.Batch{}
	return t.conn.SendBatch(t.ctx, b).Close()
}

// onViolation sets the error for when a statement violates a constraint.
func (t *tx) onViolation(constraint string, err error) { t.violations[constraint] = err }

// exec runs a writing statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	var n int64
	t.queue(query, args...).Exec(counted(&n))
	return n, t.flush()
}

// find scans the first row into dest; false without rows.
func (t *tx) find(query string, args []any, dest ...any) (bool, error) {
	var found bool
	t.queue(query, args...).QueryRow(first(&found, dest...))
	return found, t.flush()
}

// The functions below read the result of a queued statement.

// scan copies the columns of a row.
type scan = sqlmeta.Scan

// counted stores how many rows a statement changed.
func counted(n *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*n = tag.RowsAffected()
		return nil
	}
}

// first scans the first row into dest, and stores whether there was one.
func first(found *bool, dest ...any) func(pgx.Row) error {
	return func(row pgx.Row) error {
		err := row.Scan(dest...)
		if errors.Is(err, pgx.ErrNoRows) {
			*found = false
			return nil
		}
		*found = err == nil
		return err
	}
}

// each calls read for every row.
func each(read func(scan scan) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := read(rows.Scan); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

const (
	beginTx    = `BEGIN`
	commitTx   = `COMMIT`
	rollbackTx = `ROLLBACK`
)

// run is the attempt: fn between BEGIN and COMMIT, or ROLLBACK when it fails.
func (t *tx) run(fn func(*tx) error) error {
	t.queue(beginTx)
	err := fn(t)
	if err == nil {
		t.queue(commitTx).Exec(func(tag pgconn.CommandTag) error {
			t.committed = tag.String() == commitTx
			return nil
		})
		err = t.flush()
		if err == nil && !t.committed {
			err = errors.New("pgmeta: COMMIT did not commit")
		}
	}
	if err == nil {
		return nil
	}
	if !t.conn.IsClosed() && t.conn.PgConn().TxStatus() != 'I' {
		t.queued = &pgx.Batch{}
		t.queue(rollbackTx)
		if failed := t.flush(); failed != nil {
			// The connection's end rolls back.
			return errors.Join(err, failed, t.conn.Close(t.ctx))
		}
	}
	if refusal := usedUp(err); refusal != nil {
		return refusal
	}
	if answer, ok := t.violations[violated(err)]; ok {
		return answer
	}
	return err
}
