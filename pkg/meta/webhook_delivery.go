package meta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/tenant"
)

// DeliveryState says what became of a delivery.
type DeliveryState string

// The states.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryDead      DeliveryState = "dead" // it is not tried again, unless by redelivery
)

// Delivery is one event for one webhook.
type Delivery struct {
	Tenant      tenant.ID
	Webhook     uuid.UUID
	ID          int64
	Op          uuid.UUID // of the event
	Verb        string    // of the event
	Target      string    // of the event
	ContentType string
	Body        string // that is sent, again and again the same
	CreatedAt   time.Time
	State       DeliveryState
	Due         time.Time // of a pending one: it is tried from then on
	Until       time.Time // a pending one is dead from then on, another one is forgotten
	Attempts    int64     // with a result
	TriedAt     time.Time // when the last of them ended
	Status      int64     // of the last answer; 0: there was none
	Failure     string    // of the last attempt, or why it is dead
	Response    string    // the beginning of the last answer
}

// Message identifies the event for its receivers, also when it comes again.
func (d *Delivery) Message() string { return "msg_" + d.Op.String() }

// How long deliveries take, and stay.
const (
	DeliveryTime    = 24 * time.Hour      // from the event to its last attempt
	DeliveredKept   = 7 * 24 * time.Hour  // in the log
	DeadKept        = 30 * 24 * time.Hour // likewise
	TagHold         = 5 * time.Minute     // an event waits at most so long for a failing one of its tag
	DeliveryLog     = 20_000              // deliveries of a webhook; the oldest beyond it that are not pending are forgotten
	DeliveryBacklog = 10_000              // deliveries of a webhook that are pending; the oldest beyond it are dead
)

// HookRender makes what a webhook sends of an event; false: the format cannot say it.
type HookRender func(w *Webhook, e *HookedEvent) (contentType, body string, ok bool)

// MadeDeliveries is what one step made.
type MadeDeliveries struct {
	Tenant  tenant.ID // whose events they are of; 0: no event of a tenant after the given one waits
	Events  int       // that were looked at; 0: another process makes this tenant's deliveries
	Made    int
	Dropped int // that are dead since too many wait
}

// ClaimedWebhook is a webhook that may be called, with what its tenant is.
type ClaimedWebhook struct {
	Webhook
	TenantSlug string
}

// WaitingWebhook is a webhook with pending deliveries.
type WaitingWebhook struct {
	Tenant  tenant.ID
	Webhook uuid.UUID
	Due     bool // one of them
}

// DeliveryResult is how an attempt ended.
type DeliveryResult struct {
	State    DeliveryState // pending: it is tried again
	After    time.Duration // until then
	Status   int64
	Failure  string
	Response string
}

// WebhookDeliveries keeps what webhooks have to be told. An event of a tenant that has a webhook
// is marked in its own transaction; deliveries are made of it later, each a row, so that neither
// the order in which transactions end nor a crash loses one.
type WebhookDeliveries interface {
	// MakeDeliveries makes the deliveries of up to limit events of one tenant, the next one
	// after the given one that has any. backlog is DeliveryBacklog, but for tests.
	MakeDeliveries(ctx context.Context, after tenant.ID, limit, backlog int, render HookRender) (MadeDeliveries, error)
	// NextWaiting finds the next webhook after the given one with a pending delivery; the nil
	// UUID: there is no other one.
	NextWaiting(ctx context.Context, after WaitingWebhook) (WaitingWebhook, error)
	// FindClaimable finds a webhook that may be called: it is not disabled, and its tenant is
	// active.
	FindClaimable(ctx context.Context, t tenant.ID, id uuid.UUID) (ClaimedWebhook, bool, error)
	// ClaimDeliveries gives up to limit due deliveries of a webhook to the caller, the first ones
	// first, for so long. Of events of one tag the next is given when the one before was tried,
	// and delivered, dead, or waited for TagHold.
	ClaimDeliveries(ctx context.Context, t tenant.ID, id, claim uuid.UUID, hold time.Duration, limit int) ([]Delivery, error)
	// RecordAttempt records the result of the attempt of a claim; false: the delivery was claimed
	// again, or is no longer pending.
	RecordAttempt(ctx context.Context, d Delivery, claim uuid.UUID, r DeliveryResult) (bool, error)
	// DisableWebhook disables a webhook whose receiver is gone.
	DisableWebhook(ctx context.Context, by Cause, w Webhook, reason string) error
	// TrimDeliveries ends pending deliveries past their time, forgets old ones, those beyond the
	// newest of a webhook, which are DeliveryLog but for tests, and those of webhooks that are gone.
	TrimDeliveries(ctx context.Context, limit, newest int) (int, error)

	FindDelivery(ctx context.Context, w Webhook, id int64) (Delivery, error)
	// DeliveriesBetween returns a part of the log of a webhook by id; an empty state is any.
	DeliveriesBetween(ctx context.Context, w Webhook, state DeliveryState, b Between[int64]) ([]Delivery, error)
	// Redeliver makes a delivery pending once more, in no order with others.
	Redeliver(ctx context.Context, by Cause, w Webhook, id int64) (Delivery, error)
}
