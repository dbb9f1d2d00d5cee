package pgmeta

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

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
func (r records) Read(ctx context.Context, owner tenant.ID, query string, args []any, begin func(), read func(sqlmeta.Scan) error) error {
	return r.store.read(ctx, owner, func(ctx context.Context, c *pgx.Conn) error {
		begin()
		found, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer found.Close()
		return each(read)(found)
	})
}

// Write implements sqlmeta.Engine.
func (r records) Write(ctx context.Context, owner tenant.ID, fn func(sqlmeta.Tx) error) error {
	return r.store.write(ctx, owner, func(t *tx) error { return fn(t.records()) })
}

// recordTx is a transaction as an sqlmeta.Tx.
type recordTx struct {
	dialect
	tx *tx
}

func (t *tx) records() recordTx { return recordTx{tx: t} }

// Exec implements sqlmeta.Tx.
func (t recordTx) Exec(query string, args ...any) (int64, error) { return t.tx.exec(query, args...) }

// Queue implements sqlmeta.Tx.
func (t recordTx) Queue(query string, args ...any) error {
	t.tx.queue(query, args...)
	return nil
}

// Find implements sqlmeta.Tx.
func (t recordTx) Find(query string, args []any, dest ...any) (bool, error) {
	return t.tx.find(query, args, dest...)
}

// List implements sqlmeta.Tx.
func (t recordTx) List(query string, args []any, read func(sqlmeta.Scan) error) error {
	t.tx.queue(query, args...).Query(each(read))
	return t.tx.flush()
}

// OnViolation implements sqlmeta.Tx.
func (t recordTx) OnViolation(constraint string, err error) { t.tx.onViolation(constraint, err) }

// dialect implements sqlmeta.Dialect.
type dialect struct{}

// Pick implements sqlmeta.Dialect.
func (dialect) Pick(_, postgres string) string { return postgres }

// Time implements sqlmeta.Dialect.
func (dialect) Time(t time.Time) any { return timeOrNull(t) }

// Interval implements sqlmeta.Dialect.
func (dialect) Interval(d time.Duration) any { return d }

// alreadyDone is sqlmeta.AlreadyDone.
func (t *tx) alreadyDone(by meta.Cause, id tenant.ID) error {
	return sqlmeta.AlreadyDone(t.records(), by, id)
}
