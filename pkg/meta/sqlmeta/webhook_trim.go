package sqlmeta

import (
	"context"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	oldDeliveriesSQLite = `
SELECT d.tenant_id, d.webhook_id, d.id, d.state FROM webhook_deliveries d WHERE d.until <= berth_now() ORDER BY d.until LIMIT $1`
	oldDeliveriesPostgres = oldDeliveriesSQLite + ` FOR UPDATE SKIP LOCKED`

	expireDelivery = `
UPDATE webhook_deliveries SET state = 'dead', claim = NULL, until = berth_now() + CAST($4 AS interval),
       failure = CASE WHEN failure = '' THEN 'it was not tried in time' ELSE failure END
 WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3`

	deleteDelivery = `DELETE FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3`

	nextDeliveryWebhook = `
SELECT d.tenant_id, d.webhook_id FROM webhook_deliveries d
 WHERE (d.tenant_id, d.webhook_id) > ($1, $2) ORDER BY d.tenant_id, d.webhook_id LIMIT 1`

	webhookExists = `SELECT 1 FROM webhooks WHERE tenant_id = $1 AND id = $2`

	orphansSQLite   = `SELECT d.tenant_id, d.webhook_id, d.id, d.state FROM webhook_deliveries d WHERE d.tenant_id = $1 AND d.webhook_id = $2 ORDER BY d.id LIMIT $3`
	orphansPostgres = orphansSQLite + ` FOR UPDATE SKIP LOCKED`

	deliveryBeyond = `SELECT d.id FROM webhook_deliveries d WHERE d.tenant_id = $1 AND d.webhook_id = $2 ORDER BY d.id DESC LIMIT 1 OFFSET $3`
	beyondSQLite   = `
SELECT d.tenant_id, d.webhook_id, d.id, d.state FROM webhook_deliveries d
 WHERE d.tenant_id = $1 AND d.webhook_id = $2 AND d.id <= $3 AND d.state <> 'pending' ORDER BY d.id LIMIT $4`
	beyondPostgres = beyondSQLite + ` FOR UPDATE SKIP LOCKED`
)

// trimDeliveriesAtOnce bounds a transaction, for which others of SQLite wait.
const trimDeliveriesAtOnce = 100

// TrimDeliveries implements meta.WebhookDeliveries.
func (s *Records) TrimDeliveries(ctx context.Context, limit, newest int) (int, error) {
	trimmed := 0
	for trimmed < limit {
		n, err := s.trimSome(ctx, noTenant, s.engine.Pick(oldDeliveriesSQLite, oldDeliveriesPostgres), false, min(limit-trimmed, trimDeliveriesAtOnce))
		trimmed += n
		if err != nil || n == 0 {
			if err != nil {
				return trimmed, err
			}
			break
		}
	}
	var at meta.Delivery
	for trimmed < limit {
		rows, err := list(ctx, s, noTenant, func(scan Scan) (meta.Delivery, error) {
			var d meta.Delivery
			err := scan(&d.Tenant, &d.Webhook)
			return d, err
		}, nextDeliveryWebhook, at.Tenant, at.Webhook[:])
		if err != nil || len(rows) == 0 {
			return trimmed, err
		}
		at = rows[0]
		n, err := s.trimOrphans(ctx, at.Tenant, at.Webhook, limit-trimmed)
		trimmed += n
		if err != nil {
			return trimmed, err
		}
		n, err = s.trimLog(ctx, at.Tenant, at.Webhook, limit-trimmed, newest)
		trimmed += n
		if err != nil {
			return trimmed, err
		}
	}
	return trimmed, nil
}

// trimOrphans deletes what a webhook that is gone has left.
func (s *Records) trimOrphans(ctx context.Context, id tenant.ID, webhook uuid.UUID, limit int) (int, error) {
	trimmed := 0
	for trimmed < limit {
		there, err := list(ctx, s, id, func(scan Scan) (int, error) {
			var one int
			err := scan(&one)
			return one, err
		}, webhookExists, id, webhook[:])
		if err != nil || len(there) > 0 {
			return trimmed, err
		}
		n, err := s.trimSome(ctx, id, s.engine.Pick(orphansSQLite, orphansPostgres), true, min(limit-trimmed, trimDeliveriesAtOnce), id, webhook[:])
		trimmed += n
		if err != nil || n == 0 {
			return trimmed, err
		}
	}
	return trimmed, nil
}

// trimLog deletes what is beyond the newest deliveries of a webhook and not pending.
func (s *Records) trimLog(ctx context.Context, id tenant.ID, webhook uuid.UUID, limit, newest int) (int, error) {
	beyond, err := list(ctx, s, id, func(scan Scan) (int64, error) {
		var id int64
		err := scan(&id)
		return id, err
	}, deliveryBeyond, id, webhook[:], newest)
	if err != nil || len(beyond) == 0 {
		return 0, err
	}
	trimmed := 0
	for trimmed < limit {
		n, err := s.trimSome(ctx, id, s.engine.Pick(beyondSQLite, beyondPostgres), true, min(limit-trimmed, trimDeliveriesAtOnce), id, webhook[:], beyond[0])
		trimmed += n
		if err != nil || n == 0 {
			return trimmed, err
		}
	}
	return trimmed, nil
}

// trimSome ends the pending ones of the deliveries that the query locks, and forgets the others;
// of what is gone it forgets all. The limit is the last argument of the query.
func (s *Records) trimSome(ctx context.Context, owner tenant.ID, query string, gone bool, limit int, args ...any) (int, error) {
	var rows []meta.Delivery
	err := s.engine.Write(ctx, owner, func(t Tx) error {
		rows = nil
		err := t.List(query, append(args, limit), func(scan Scan) error {
			var d meta.Delivery
			err := scan(&d.Tenant, &d.Webhook, &d.ID, &d.State)
			rows = append(rows, d)
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range rows {
			if d.State == meta.DeliveryPending && !gone {
				err = t.Queue(expireDelivery, d.Tenant, d.Webhook[:], d.ID, t.Interval(meta.DeadKept))
			} else {
				err = t.Queue(deleteDelivery, d.Tenant, d.Webhook[:], d.ID)
			}
			if err != nil {
				return err
			}
			if err := t.Queue(deleteDeliveryTags, d.Tenant, d.Webhook[:], d.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return len(rows), err
}
