package sqlitemeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// records is the store as an sqlmeta.Engine.
type records struct {
	dialect
	store *Store
}

// Read implements sqlmeta.Engine.
func (r records) Read(ctx context.Context, _ tenant.ID, query string, args []any, begin func(), each func(sqlmeta.Scan) error) error {
	begin()
	return r.store.list(ctx, query, args, each)
}

// Write implements sqlmeta.Engine.
func (r records) Write(ctx context.Context, owner tenant.ID, fn func(sqlmeta.Tx) error) error {
	return r.store.writeFor(ctx, owner, func(t *tx) error { return fn(t.records()) })
}

// recordTx is a transaction as an sqlmeta.Tx.
type recordTx struct {
	dialect
	tx *tx

	violation error // the last of OnViolation
}

func (t *tx) records() *recordTx { return &recordTx{tx: t} }

// Exec implements sqlmeta.Tx.
func (t *recordTx) Exec(query string, args ...any) (int64, error) {
	n, err := t.tx.exec(query, args...)
	return n, t.explain(err)
}

// Queue implements sqlmeta.Tx.
func (t *recordTx) Queue(query string, args ...any) error {
	_, err := t.Exec(query, args...)
	return err
}

// Find implements sqlmeta.Tx.
func (t *recordTx) Find(query string, args []any, dest ...any) (bool, error) {
	found, err := t.tx.find(query, args, dest...)
	return found, t.explain(err)
}

// List implements sqlmeta.Tx.
func (t *recordTx) List(query string, args []any, each func(sqlmeta.Scan) error) error {
	return t.explain(t.tx.list(query, args, each))
}

// OnViolation implements sqlmeta.Tx. SQLite does not name a constraint: it is that
// of the statement which follows.
func (t *recordTx) OnViolation(_ string, err error) { t.violation = err }

func (t *recordTx) explain(err error) error {
	if t.violation != nil && violatesUnique(err) {
		return t.violation
	}
	return err
}

// dialect implements sqlmeta.Dialect.
type dialect struct{}

// Pick implements sqlmeta.Dialect.
func (dialect) Pick(sqlite, _ string) string { return sqlite }

// Time implements sqlmeta.Dialect.
func (dialect) Time(t time.Time) any { return micros(t) }

// Interval implements sqlmeta.Dialect.
func (dialect) Interval(d time.Duration) any { return d.Microseconds() }

// event records who did what, as sqlmeta.Event does.
func (t *tx) event(by meta.Cause, id tenant.ID, verb, target string) error {
	return sqlmeta.Event(t.records(), by, id, verb, target)
}

// alreadyDone is sqlmeta.AlreadyDone.
func (t *tx) alreadyDone(by meta.Cause, id tenant.ID) error {
	return sqlmeta.AlreadyDone(t.records(), by, id)
}
