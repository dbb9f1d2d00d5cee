package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Tenant is a customer as the admin API sees it.
type Tenant struct {
	ID          tenant.ID
	Slug        string
	DisplayName string
	State       tenant.State
	Epoch       int64
	Quota       int64 // bytes; 0 = none
	Used        int64 // bytes of distinct live blobs
	Version     int64 // etag; grows with every change
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Tenants keeps tenants. A tenant that is being deleted, or is deleted, is not
// found.
type Tenants interface {
	// CreateTenant makes the tenant with its registry "main", its usage row and
	// settings for main. fault.AlreadyExists for a slug in use,
	// fault.NameQuarantined for one that was deleted less than
	// Lifetimes.Quarantine ago.
	CreateTenant(ctx context.Context, by Cause, t Tenant, main tenant.Settings) (Tenant, error)
	// FindTenant returns fault.ResourceUnknown when there is none.
	FindTenant(ctx context.Context, slug string) (Tenant, error)
	// ListTenants pages by slug.
	ListTenants(ctx context.Context, p Page) ([]Tenant, error)
	// UpdateTenant changes DisplayName, Quota and State (Active or Suspended)
	// where t.Version is still current, else fault.EtagMismatch. Version 0 means
	// whatever is current. Suspending raises the epoch: tokens die.
	UpdateTenant(ctx context.Context, by Cause, t Tenant) (Tenant, error)
	// DeleteTenant marks it deleting: hosts are refused at once, tokens die, the
	// janitor removes the content. Its row stays as a tombstone.
	DeleteTenant(ctx context.Context, by Cause, slug string, version int64) error
}
