package sqlmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

const (
	keepForSink = `
INSERT INTO audit_sinks (name, until) VALUES ('audit', berth_now() + CAST($1 AS interval))
ON CONFLICT (name) DO UPDATE SET until = excluded.until`

	pendingEvents = `
SELECT e.id, e.tenant_id, e.at, e.actor, e.on_behalf, e.verb, e.target, e.request_id, e.address, e.user_agent, e.changes, e.times, coalesce(t.slug, '')
  FROM events e LEFT JOIN tenants t ON t.id = e.tenant_id
 WHERE e.pending
 ORDER BY e.id LIMIT $1`

	// A refusal that was counted on is sent again.
	markSent = `UPDATE events SET pending = FALSE WHERE tenant_id = $1 AND id = $2 AND times = $3`
)

// KeepForSink implements meta.EventSinks.
func (s *Records) KeepForSink(ctx context.Context, lasting time.Duration) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error { return t.Queue(keepForSink, t.Interval(lasting)) })
}

// PendingEvents implements meta.EventSinks.
func (s *Records) PendingEvents(ctx context.Context, limit int) ([]meta.PendingEvent, error) {
	return list(ctx, s, noTenant, func(scan Scan) (meta.PendingEvent, error) {
		var e meta.PendingEvent
		var err error
		e.Event, err = scanEvent(func(dest ...any) error { return scan(append(dest, &e.TenantSlug)...) })
		return e, err
	}, pendingEvents, limit)
}

// MarkSent implements meta.EventSinks.
func (s *Records) MarkSent(ctx context.Context, events []meta.PendingEvent) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		for _, e := range events {
			if err := t.Queue(markSent, e.Tenant, e.ID, e.Times); err != nil {
				return err
			}
		}
		return nil
	})
}
