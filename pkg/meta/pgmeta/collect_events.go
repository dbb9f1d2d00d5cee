package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	tenantsFrom = `SELECT id FROM tenants WHERE id > $1 ORDER BY id LIMIT $2`

	// The newest of a tenant's events that are too many.
	eventsTooMany = `SELECT id FROM events WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2`

	// The oldest of a tenant's events, as far as they are too many or too old.
	eventsToTrim = `
SELECT id FROM (SELECT id, at FROM events WHERE tenant_id = $1 ORDER BY id LIMIT $4) AS oldest WHERE id <= $2 OR $3::interval > interval '0' AND at < berth_now() - $3::interval ORDER BY id`

	trimEvents = `DELETE FROM events WHERE tenant_id = $1 AND id <= $2`
)

// TrimEvents implements meta.Collector.
func (s *Store) TrimEvents(ctx context.Context, limit int) (int, error) {
	trimmed := 0
	for after := tenant.ID(0); ; {
		ids, err := collect(ctx, s, nobody, scanTenantID, tenantsFrom, after, pageOfTenants)
		if err != nil || len(ids) == 0 {
			return trimmed, err
		}
		for _, id := range ids {
			after = id
			n, err := s.trimEvents(ctx, id, limit)
			trimmed += n
			if err != nil || trimmed >= limit {
				return trimmed, err
			}
		}
	}
}

// pageOfTenants is how many tenants are read at a time.
const pageOfTenants = 1000

func scanTenantID(scan scan) (tenant.ID, error) {
	var id tenant.ID
	err := scan(&id)
	return id, err
}

func (s *Store) trimEvents(ctx context.Context, id tenant.ID, limit int) (int, error) {
	tooMany := int64(0)
	if s.opts.Limits.Events >= 0 {
		if _, err := s.find(ctx, nobody, eventsTooMany, []any{id, s.opts.Limits.Events}, &tooMany); err != nil {
			return 0, err
		}
	}
	due, err := collect(ctx, s, nobody, func(scan scan) (int64, error) {
		var event int64
		err := scan(&event)
		return event, err
	}, eventsToTrim, id, tooMany, s.life.Events, limit)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	var n int64
	err = s.write(ctx, nobody, func(t *tx) error {
		var err error
		n, err = t.exec(trimEvents, id, due[len(due)-1])
		return err
	})
	return int(n), err
}
