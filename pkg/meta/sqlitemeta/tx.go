package sqlitemeta

import (
	"context"
	"database/sql"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// tx is a member's view of the group's transaction.
type tx struct {
	w     *writer
	now   int64     // microseconds, taken after BEGIN IMMEDIATE
	began time.Time // of the current member
}

// stepTime is how long a step may hold the writer.
const stepTime = 5 * time.Millisecond

// spent says whether the current step has had its time. What a step does before
// it asks, it does whole: at least one piece of work.
func (t *tx) spent() bool { return time.Since(t.began) > stepTime }

// control runs a transaction control statement.
func (t *tx) control(statement string) error {
	_, err := t.exec(statement)
	return err
}

// statement returns the prepared form of query, which is a constant.
func (t *tx) statement(query string) (*sql.Stmt, error) {
	if st, ok := t.w.stmts[query]; ok {
		return st, nil
	}
	st, err := t.w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.w.stmts[query] = st
	return st, nil
}

// The methods below run with a context that never ends: interrupting a
// statement would roll back the whole group.

// exec runs a writing statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	st, err := t.statement(query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// find scans the first row into dest; false without rows.
func (t *tx) find(query string, args []any, dest ...any) (bool, error) {
	st, err := t.statement(query)
	if err != nil {
		return false, err
	}
	return findRow(st.QueryContext(context.Background(), args...))(dest...)
}

// list calls each for every row. The rows are read to the end before a later
// statement runs, so each must not use t.
func (t *tx) list(query string, args []any, each func(scan scan) error) error {
	st, err := t.statement(query)
	if err != nil {
		return err
	}
	return eachRow(st.QueryContext(context.Background(), args...))(each)
}

// after is a moment d from now, in microseconds.
func (t *tx) after(d time.Duration) int64 { return t.now + d.Microseconds() }

const findUsage = `
SELECT lim, used + overhead, used + overhead - cached - min(trash, lim), trash,
       lim > 0 AND used + overhead - cached > lim
   AND (trash > 0 OR EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = ?1 AND r.state = 'deleted'))
  FROM usage WHERE tenant_id = ?1`

// usage is what a tenant is charged. Cached content has what pushes leave: it
// counts for itself, and for pushes it does not. What was deleted may take as much as
// the quota beside them; crowded says that it has to go sooner.
type usage struct {
	limit, all, pushed, trash int64
	crowded                   bool
}

func (t *tx) usage(id tenant.ID) (usage, error) {
	var u usage
	_, err := t.find(findUsage, []any{id}, &u.limit, &u.all, &u.pushed, &u.trash, &u.crowded) // a missing tenant has no usage
	return u, err
}

// charged is what counts for a push, or for what is cached.
func (u usage) charged(cached bool) int64 {
	if cached {
		return u.all
	}
	return u.pushed
}

// writeCharged is writeFor for what a tenant may get more by: it is refused where
// it grows what the tenant is charged past the quota. fn says whether it was
// about cached content.
func (s *Store) writeCharged(ctx context.Context, id tenant.ID, fn func(*tx) (cached bool, err error)) error {
	crowded := false
	err := s.writeFor(ctx, id, charged(id, &crowded, fn))
	if err == nil && crowded {
		s.makeRoom(ctx, id)
	}
	return err
}

// charged is the refusal of writeCharged around one transaction. crowded is set where the
// tenant's trash has to make room.
func charged(id tenant.ID, crowded *bool, fn func(*tx) (cached bool, err error)) func(*tx) error {
	return func(t *tx) error {
		before, err := t.usage(id)
		if err != nil {
			return err
		}
		cached, err := fn(t)
		if err != nil {
			return err
		}
		after, err := t.usage(id)
		if err != nil {
			return err
		}
		*crowded = after.crowded && !cached
		if n := after.charged(cached); after.limit == 0 || n <= after.limit || n <= before.charged(cached) {
			return nil
		}
		if cached {
			return overQuota(after.all, after.limit)
		}
		return t.fits(id, after)
	}
}

func overQuota(n, limit int64) error {
	return quotaExceeded("the tenant would be charged %d bytes, and its quota is %d", n, limit)
}

func quotaExceeded(format string, args ...any) error {
	return fault.New(fault.Denied, fault.QuotaExceeded, "quota exceeded: "+format, args...).WithDetail("quota exceeded")
}
