package meta

import (
	"context"
	"time"
)

// PendingEvent is an event that a sink has yet to get.
type PendingEvent struct {
	Event
	TenantSlug string // empty of the deployment's log
}

// EventSinks lets events be sent to a place outside of the database. An event is marked
// as pending in its own transaction, so that none is missed, whatever the order in which
// transactions end; it is pending until it is marked as sent.
type EventSinks interface {
	// KeepForSink makes events pending from now on, and for that long: a process that
	// sends them calls it again before.
	KeepForSink(ctx context.Context, lasting time.Duration) error
	// PendingEvents returns up to limit events of all tenants, the oldest first.
	PendingEvents(ctx context.Context, limit int) ([]PendingEvent, error)
	// MarkSent takes events out of those that are pending. Refusals that were counted
	// on since they were read stay.
	MarkSent(ctx context.Context, events []PendingEvent) error
}
