package meta

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// WebhookFormat is what the body of a webhook's requests is.
type WebhookFormat string

// The formats.
const (
	CloudEvents               WebhookFormat = "cloudevents"  // CloudEvents 1.0 in structured JSON
	DistributionNotifications WebhookFormat = "distribution" // the envelope of CNCF distribution
)

// Webhook tells a server of a tenant of events.
type Webhook struct {
	Tenant tenant.ID
	ID     uuid.UUID // of the operation that made it: a later one of the same slug has another
	Slug   string
	URL    string
	Format WebhookFormat

	Events       []string // patterns of verbs; none: all that the format can say
	Registry     string   // slug of the one that the event is of; empty: any, or none
	Repositories []string // patterns of the names of repositories; none: any, or none

	Secret         []byte    // sealed; it signs
	PreviousSecret []byte    // sealed; it signs, too, until then
	PreviousUntil  time.Time // zero without one

	DisplayName    string
	Disabled       bool   // it gets no events, and what waits is not sent
	DisabledReason string // of one that Berth has disabled
	Version        int64
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// SecretName is the name to which pkg/seal binds the secrets of the webhook.
func (w *Webhook) SecretName() string {
	return fmt.Sprintf("tenants/%d/webhooks/%s/secret", w.Tenant, w.Slug)
}

// Target is the target of events of the webhook, and the actor of those that Berth makes of it.
func (w *Webhook) Target() string { return WebhookTarget(w.Slug) }

// WebhookTarget is the target of events of a webhook.
func WebhookTarget(slug string) string { return "webhooks/" + slug }

// Wants reports whether the webhook is for the event, which may be older than it.
func (w *Webhook) Wants(e *HookedEvent) bool {
	switch {
	case w.Disabled, e.At.Before(w.CreatedAt), e.Verb == WebhookGone, e.Verb == WebhookDropped:
		return false
	case len(w.Events) > 0 && !slices.ContainsFunc(w.Events, func(pattern string) bool { return matchesVerb(pattern, e.Verb) }):
		return false
	case w.Registry != "" && w.Registry != e.Registry:
		return false
	}
	return len(w.Repositories) == 0 || e.Repository != "" && oci.MatchesAny(w.Repositories, e.Repository)
}

// matchesVerb compares a verb, such as "manifest.put", with a pattern: a verb, "manifest.*",
// "*.delete" or "*".
func matchesVerb(pattern, verb string) bool {
	if pattern == "*" {
		return true
	}
	noun, did, _ := strings.Cut(pattern, ".")
	of, what, _ := strings.Cut(verb, ".")
	return (noun == "*" || noun == of) && (did == "*" || did == what)
}

// Webhooks keeps webhooks; absence is fault.ResourceUnknown. What waits for a deleted one is
// never sent.
type Webhooks interface {
	CreateWebhook(ctx context.Context, by Cause, w Webhook) (Webhook, error)
	FindWebhook(ctx context.Context, t tenant.ID, slug string) (Webhook, error)
	// ListWebhooks pages by slug.
	ListWebhooks(ctx context.Context, t tenant.ID, p Page) ([]Webhook, error)
	// UpdateWebhook changes everything but the slug; Version as in UpdateTenant. Another
	// secret keeps the one before for SecretOverlap.
	UpdateWebhook(ctx context.Context, by Cause, w Webhook) (Webhook, error)
	// ResealWebhook replaces both secrets by the same ones, sealed with another key.
	ResealWebhook(ctx context.Context, by Cause, w Webhook) error
	DeleteWebhook(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}

// SecretOverlap is how long the secret before signs beside the new one.
const SecretOverlap = 24 * time.Hour
