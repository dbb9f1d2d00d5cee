package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	webhookColumns = `w.tenant_id, w.id, w.slug, w.url, w.display_name, w.disabled, w.body, w.secret, w.previous_secret, w.previous_until, w.version, w.created_at, w.updated_at`

	selectWebhook = `
SELECT ` + webhookColumns + ` FROM webhooks w
WHERE w.tenant_id = $1`

	findWebhook    = selectWebhook + ` AND w.slug = $2`
	listWebhooks   = selectWebhook + ` AND w.slug > $2 ORDER BY w.slug LIMIT $3`
	activeWebhooks = selectWebhook + ` AND NOT w.disabled ORDER BY w.slug`

	insertWebhook = `
INSERT INTO webhooks (tenant_id, id, slug, url, display_name, disabled, body, secret, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, berth_now(), berth_now())`

	findWebhookVersion = `SELECT version FROM webhooks WHERE tenant_id = $1 AND slug = $2`

	updateWebhook = `
UPDATE webhooks SET url = $3, display_name = $4, disabled = $5, body = $6, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2`

	replaceWebhookSecret = `
UPDATE webhooks SET previous_secret = secret, previous_until = berth_now() + CAST($4 AS interval), secret = $3
 WHERE tenant_id = $1 AND slug = $2 AND secret <> $3`

	resealWebhook = `
UPDATE webhooks SET secret = $3, previous_secret = $4, version = version + 1 WHERE tenant_id = $1 AND slug = $2`

	deleteWebhook = `DELETE FROM webhooks WHERE tenant_id = $1 AND slug = $2`
)

// webhookBody is the JSON of a webhook, but for what has a column.
type webhookBody struct {
	Format         meta.WebhookFormat `json:"format"`
	Events         []string           `json:"events,omitempty"`
	Registry       string             `json:"registry,omitempty"`
	Repositories   []string           `json:"repositories,omitempty"`
	DisabledReason string             `json:"disabled_reason,omitempty"`
}

func encodeWebhook(w meta.Webhook) (string, error) {
	encoded, err := json.Marshal(webhookBody{w.Format, w.Events, w.Registry, w.Repositories, w.DisabledReason})
	return string(encoded), err
}

// webhookInto are the columns of a webhook, but for its body.
func webhookInto(w *meta.Webhook, b *webhookBody) []any {
	return []any{
		&w.Tenant, &w.ID, &w.Slug, &w.URL, &w.DisplayName, &w.Disabled,
		jsonScanner{b},
		&w.Secret, &w.PreviousSecret,
		timeScanner{&w.PreviousUntil},
		&w.Version,
		timeScanner{&w.CreatedAt},
		timeScanner{&w.UpdatedAt},
	}
}

func (b webhookBody) fill(w *meta.Webhook) {
	w.Format, w.Events, w.Registry, w.Repositories, w.DisabledReason = b.Format, b.Events, b.Registry, b.Repositories, b.DisabledReason
}

func scanWebhook(scan Scan) (meta.Webhook, error) {
	var w meta.Webhook
	var b webhookBody
	err := scan(webhookInto(&w, &b)...)
	b.fill(&w)
	return w, err
}

// FindWebhook implements meta.Webhooks.
func (s *Records) FindWebhook(ctx context.Context, t tenant.ID, slug string) (meta.Webhook, error) {
	return find(ctx, s, t, noWebhook(slug), scanWebhook, findWebhook, t, slug)
}

// ListWebhooks implements meta.Webhooks.
func (s *Records) ListWebhooks(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Webhook, error) {
	return list(ctx, s, t, scanWebhook, listWebhooks, t, p.After, p.Size)
}

// CreateWebhook implements meta.Webhooks.
func (s *Records) CreateWebhook(ctx context.Context, by meta.Cause, w meta.Webhook) (meta.Webhook, error) {
	return s.writeWebhook(ctx, w, func(t Tx, body string) error {
		if err := beginAlone(t, by, w.Tenant, "webhook.create", w.Target()); err != nil {
			return err
		}
		t.OnViolation("webhooks_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "webhook %q exists already", w.Slug))
		if err := t.Queue(insertWebhook, w.Tenant, by.Op[:], w.Slug, w.URL, w.DisplayName, w.Disabled, body, w.Secret); err != nil {
			return err
		}
		return checkLimit(t, s.limits.WebhookLimit(), countWebhooks, w.Tenant)
	})
}

// UpdateWebhook implements meta.Webhooks.
func (s *Records) UpdateWebhook(ctx context.Context, by meta.Cause, w meta.Webhook) (meta.Webhook, error) {
	return s.writeWebhook(ctx, w, func(t Tx, body string) error {
		if err := beginWebhookChange(t, by, "webhook.update", w.Tenant, w.Slug, w.Version); err != nil {
			return err
		}
		if err := t.Queue(replaceWebhookSecret, w.Tenant, w.Slug, w.Secret, t.Interval(meta.SecretOverlap)); err != nil {
			return err
		}
		return t.Queue(updateWebhook, w.Tenant, w.Slug, w.URL, w.DisplayName, w.Disabled, body)
	})
}

func (s *Records) writeWebhook(ctx context.Context, w meta.Webhook, write func(t Tx, body string) error) (meta.Webhook, error) {
	err := s.engine.Write(ctx, w.Tenant, func(t Tx) error {
		body, err := encodeWebhook(w)
		if err != nil {
			return err
		}
		return write(t, body)
	})
	if err != nil {
		return meta.Webhook{}, err
	}
	return s.FindWebhook(ctx, w.Tenant, w.Slug)
}

// ResealWebhook implements meta.Webhooks.
func (s *Records) ResealWebhook(ctx context.Context, by meta.Cause, w meta.Webhook) error {
	return s.engine.Write(ctx, w.Tenant, func(t Tx) error {
		if err := beginWebhookChange(t, by, "webhook.update", w.Tenant, w.Slug, w.Version); err != nil {
			return err
		}
		var previous any
		if len(w.PreviousSecret) > 0 {
			previous = w.PreviousSecret
		}
		return t.Queue(resealWebhook, w.Tenant, w.Slug, w.Secret, previous)
	})
}

// beginWebhookChange records the event of a change, and checks that the webhook exists in the
// expected version.
func beginWebhookChange(t Tx, by meta.Cause, verb string, id tenant.ID, slug string, version int64) error {
	if err := beginAlone(t, by, id, verb, meta.WebhookTarget(slug)); err != nil {
		return err
	}
	var have int64
	found, err := t.Find(findWebhookVersion, []any{id, slug}, &have)
	switch {
	case err != nil:
		return err
	case !found:
		return noWebhook(slug)
	}
	return checkVersion(have, version)
}

// DeleteWebhook implements meta.Webhooks.
func (s *Records) DeleteWebhook(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) error {
	return s.remove(ctx, by, id, func(t Tx) error {
		if err := beginWebhookChange(t, by, "webhook.delete", id, slug, version); err != nil {
			return err
		}
		return t.Queue(deleteWebhook, id, slug)
	})
}

const disableWebhook = `
UPDATE webhooks SET disabled = TRUE, body = $4, version = version + 1, updated_at = berth_now()
 WHERE tenant_id = $1 AND slug = $2 AND id = $3 AND NOT disabled`

// DisableWebhook implements meta.WebhookDeliveries. It takes place only where the webhook is as
// it was when it was called.
func (s *Records) DisableWebhook(ctx context.Context, by meta.Cause, w meta.Webhook, reason string) error {
	w.DisabledReason = reason
	body, err := encodeWebhook(w)
	if err != nil {
		return err
	}
	err = s.engine.Write(ctx, w.Tenant, func(t Tx) error {
		if err := beginWebhookChange(t, by, meta.WebhookGone, w.Tenant, w.Slug, w.Version); err != nil {
			return err
		}
		return change(t, noWebhook(w.Slug), disableWebhook, w.Tenant, w.Slug, w.ID[:], body)
	})
	if fault.Is(err, fault.EtagMismatch) || fault.Is(err, fault.ResourceUnknown) {
		return nil
	}
	return err
}

func noWebhook(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no webhook %q", slug)
}

const claimableWebhook = `
SELECT t.slug, ` + webhookColumns + `
  FROM webhooks w JOIN tenants t ON t.id = w.tenant_id
 WHERE w.tenant_id = $1 AND w.id = $2 AND NOT w.disabled AND t.state = 'active'`

// FindClaimable implements meta.WebhookDeliveries.
func (s *Records) FindClaimable(ctx context.Context, t tenant.ID, id uuid.UUID) (meta.ClaimedWebhook, bool, error) {
	rows, err := list(ctx, s, t, func(scan Scan) (meta.ClaimedWebhook, error) {
		var w meta.ClaimedWebhook
		var b webhookBody
		err := scan(append([]any{&w.TenantSlug}, webhookInto(&w.Webhook, &b)...)...)
		b.fill(&w.Webhook)
		return w, err
	}, claimableWebhook, t, id[:])
	if err != nil || len(rows) == 0 {
		return meta.ClaimedWebhook{}, false, err
	}
	return rows[0], true, nil
}
