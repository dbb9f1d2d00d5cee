package pgmeta

import (
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	// What a tenant is charged for rows is counted by triggers at COMMIT; after
	// this, at once.
	chargeNow = `SET CONSTRAINTS ALL IMMEDIATE`

	checkQuota = `SELECT berth_room($1, $2)`
)

// withinQuota queues the refusal of what grew the tenant's charge past its quota:
// for what is cached, of all that is charged, and for pushes, of all but what is
// only cached, or in the trash. It comes last: from here on, the row of usage is locked.
func (t *tx) withinQuota(id tenant.ID, cached bool) {
	t.onViolation("usage_in_limit", quotaExceeded("the tenant has no room for it; delete what is not needed, or ask the operator for more"))
	t.queue(chargeNow)
	t.queue(checkQuota, id, cached).QueryRow(func(row pgx.Row) error { return row.Scan(&t.crowded) })
}

const checkStaged = `SELECT berth_staged($1, u.cached, $3, $4) FROM uploads u WHERE u.tenant_id = $1 AND u.id = $2 AND u.state = 'open'`

// roomToStage queues the refusal of so many more bytes in a session where they
// bring the tenant's unfinished uploads over their bound, or over what is left of
// its quota. Under a quota it locks the row of usage.
func (t *tx) roomToStage(id tenant.ID, session uuid.UUID, most, more int64) {
	t.onViolation("uploads_in_bounds", quotaExceeded("too many bytes are staged in unfinished uploads; finish or cancel some"))
	t.onViolation("uploads_in_quota", quotaExceeded("unfinished uploads hold what is left of the quota; finish or cancel some, or delete what is not needed"))
	t.queue(checkStaged, id, pgUUID(session), more, most)
}

func quotaExceeded(format string, args ...any) error {
	return fault.New(fault.Denied, fault.QuotaExceeded, "quota exceeded: "+format, args...).WithDetail("quota exceeded")
}

// usedUp is the refusal of what grew a registry, or what all registries of the tenant hold, past
// a quota: triggers raise it, of all that adds to the counts, and say which one. nil for other errors.
func usedUp(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.ConstraintName == "usage_in_limit" && e.Detail != "" && e.TableName == "" {
		return sqlmeta.QuotaUsedUp(e.Detail)
	}
	return nil
}
