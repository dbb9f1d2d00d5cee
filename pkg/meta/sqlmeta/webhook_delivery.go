package sqlmeta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectDelivery = `
SELECT d.tenant_id, d.webhook_id, d.id, d.op, d.verb, d.target, d.content_type, d.body, d.created_at, d.state, d.due, d.until, d.attempts, d.tried_at, d.status, d.failure, d.response
  FROM webhook_deliveries d
 WHERE d.tenant_id = $1 AND d.webhook_id = $2`

	findDelivery       = selectDelivery + ` AND d.id = $3`
	oldestDeliveries   = selectDelivery + ` AND d.id > $3 AND d.id < $4 AND ($5 = '' OR d.state = $5) ORDER BY d.id LIMIT $6`
	newestDeliveries   = selectDelivery + ` AND d.id > $3 AND d.id < $4 AND ($5 = '' OR d.state = $5) ORDER BY d.id DESC LIMIT $6`
	dueDeliveriesAlike = selectDelivery + ` AND d.state = 'pending' AND d.due <= berth_now() AND d.until > berth_now()
   AND NOT EXISTS (
       SELECT 1 FROM webhook_delivery_tags mine
         JOIN webhook_deliveries before ON before.tenant_id = mine.tenant_id AND before.webhook_id = mine.webhook_id
          AND before.id = (SELECT max(p.delivery_id) FROM webhook_delivery_tags p
                            WHERE p.tenant_id = mine.tenant_id AND p.webhook_id = mine.webhook_id AND p.tag = mine.tag AND p.delivery_id < mine.delivery_id)
        WHERE mine.tenant_id = d.tenant_id AND mine.webhook_id = d.webhook_id AND mine.delivery_id = d.id
          AND (before.attempts = 0 OR d.created_at > berth_now() - CAST($3 AS interval)))
 ORDER BY d.due, d.id LIMIT $4`

	dueDeliveriesPostgres = dueDeliveriesAlike + ` FOR NO KEY UPDATE OF d SKIP LOCKED`

	claimDelivery = `
UPDATE webhook_deliveries SET claim = $4, due = berth_now() + CAST($5 AS interval) WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3`

	nextWaiting = `
SELECT d.tenant_id, d.webhook_id, d.due <= berth_now() FROM webhook_deliveries d
 WHERE d.state = 'pending' AND (d.tenant_id, d.webhook_id) > ($1, $2) ORDER BY d.tenant_id, d.webhook_id, d.due LIMIT 1`

	recordAttempt = `
UPDATE webhook_deliveries SET state = $5, due = berth_now() + CAST($6 AS interval), until = CASE WHEN $5 = 'pending' THEN until ELSE berth_now() + CAST($7 AS interval) END,
       attempts = attempts + 1, tried_at = berth_now(), status = $8, failure = $9, response = $10, claim = NULL
 WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3 AND claim = $4 AND state = 'pending'`

	redeliver = `
UPDATE webhook_deliveries SET state = 'pending', due = berth_now(), until = berth_now() + CAST($4 AS interval), claim = NULL
 WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3`
)

func scanDelivery(scan Scan) (meta.Delivery, error) {
	var d meta.Delivery
	err := scan(&d.Tenant, &d.Webhook, &d.ID, &d.Op, &d.Verb, &d.Target, &d.ContentType, &d.Body, timeScanner{&d.CreatedAt}, &d.State,
		timeScanner{&d.Due}, timeScanner{&d.Until}, &d.Attempts, timeScanner{&d.TriedAt}, &d.Status, &d.Failure, &d.Response)
	return d, err
}

// FindDelivery implements meta.WebhookDeliveries.
func (s *Records) FindDelivery(ctx context.Context, w meta.Webhook, id int64) (meta.Delivery, error) {
	return find(ctx, s, w.Tenant, noDelivery(id), scanDelivery, findDelivery, w.Tenant, w.ID[:], id)
}

// DeliveriesBetween implements meta.WebhookDeliveries.
func (s *Records) DeliveriesBetween(ctx context.Context, w meta.Webhook, state meta.DeliveryState, b meta.Between[int64]) ([]meta.Delivery, error) {
	query := oldestDeliveries
	if b.Descending {
		query = newestDeliveries
	}
	return list(ctx, s, w.Tenant, scanDelivery, query, w.Tenant, w.ID[:], b.After, b.Before, string(state), b.Size)
}

// NextWaiting implements meta.WebhookDeliveries.
func (s *Records) NextWaiting(ctx context.Context, after meta.WaitingWebhook) (meta.WaitingWebhook, error) {
	rows, err := list(ctx, s, noTenant, func(scan Scan) (meta.WaitingWebhook, error) {
		var w meta.WaitingWebhook
		err := scan(&w.Tenant, &w.Webhook, &w.Due)
		return w, err
	}, nextWaiting, after.Tenant, after.Webhook[:])
	if err != nil || len(rows) == 0 {
		return meta.WaitingWebhook{}, err
	}
	return rows[0], nil
}

// ClaimDeliveries implements meta.WebhookDeliveries.
func (s *Records) ClaimDeliveries(ctx context.Context, id tenant.ID, webhook, claim uuid.UUID, hold time.Duration, limit int) ([]meta.Delivery, error) {
	var claimed []meta.Delivery
	err := s.engine.Write(ctx, id, func(t Tx) error {
		claimed = nil
		err := t.List(t.Pick(dueDeliveriesAlike, dueDeliveriesPostgres), []any{id, webhook[:], t.Interval(meta.TagHold), limit}, func(scan Scan) error {
			d, err := scanDelivery(scan)
			claimed = append(claimed, d)
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range claimed {
			if err := t.Queue(claimDelivery, id, webhook[:], d.ID, claim[:], t.Interval(hold)); err != nil {
				return err
			}
		}
		return nil
	})
	return claimed, err
}

// RecordAttempt implements meta.WebhookDeliveries.
func (s *Records) RecordAttempt(ctx context.Context, d meta.Delivery, claim uuid.UUID, r meta.DeliveryResult) (bool, error) {
	kept := meta.DeliveredKept
	if r.State == meta.DeliveryDead {
		kept = meta.DeadKept
	}
	recorded := false
	err := s.engine.Write(ctx, d.Tenant, func(t Tx) error {
		n, err := t.Exec(recordAttempt, d.Tenant, d.Webhook[:], d.ID, claim[:], string(r.State), t.Interval(r.After), t.Interval(kept), r.Status, r.Failure, r.Response)
		recorded = n > 0
		if err != nil || !recorded || r.State == meta.DeliveryPending {
			return err
		}
		return t.Queue(deleteDeliveryTags, d.Tenant, d.Webhook[:], d.ID)
	})
	return recorded, err
}

// Redeliver implements meta.WebhookDeliveries.
func (s *Records) Redeliver(ctx context.Context, by meta.Cause, w meta.Webhook, id int64) (meta.Delivery, error) {
	err := s.engine.Write(ctx, w.Tenant, func(t Tx) error {
		if err := begin(t, by, w.Tenant, "webhook.redeliver", w.Target()); err != nil {
			return err
		}
		return change(t, noDelivery(id), redeliver, w.Tenant, w.ID[:], id, t.Interval(meta.DeliveryTime))
	})
	if err != nil {
		return meta.Delivery{}, err
	}
	return s.FindDelivery(ctx, w, id)
}

func noDelivery(id int64) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "the webhook has no delivery %d", id)
}
