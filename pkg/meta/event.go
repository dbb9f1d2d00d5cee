package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Event is one row of the audit log.
type Event struct {
	ID        int64
	Tenant    tenant.ID
	At        time.Time
	Actor     string
	Verb      string // "manifest.put", "tag.delete", "registry.create", …
	Target    string // "registries/dev/repositories/app", with tag or digest
	RequestID string
}

// Events reads the audit log; the mutations write it.
type Events interface {
	// ListEvents pages newest first; Page.After is the id of the last event
	// seen, in decimal.
	ListEvents(ctx context.Context, t tenant.ID, p Page) ([]Event, error)
	// EventsBetween returns a part of the audit log by id.
	EventsBetween(ctx context.Context, t tenant.ID, b Between[int64]) ([]Event, error)
}
