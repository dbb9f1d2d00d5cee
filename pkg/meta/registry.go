package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Registry is one virtual host's hosted content.
type Registry struct {
	ID        tenant.RegistryID
	Tenant    tenant.ID
	Slug      string
	Settings  tenant.Settings
	State     tenant.State
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Registries keeps the registries of a tenant, found by slug. Those being
// deleted are not found (fault.ResourceUnknown).
type Registries interface {
	// CreateRegistry returns fault.AlreadyExists for a slug in use, also while
	// its predecessor is still being deleted.
	CreateRegistry(ctx context.Context, by Cause, r Registry) (Registry, error)
	FindRegistry(ctx context.Context, t tenant.ID, slug string) (Registry, error)
	// ListRegistries pages by slug.
	ListRegistries(ctx context.Context, t tenant.ID, p Page) ([]Registry, error)
	// UpdateRegistry changes Settings; Version as in UpdateTenant.
	UpdateRegistry(ctx context.Context, by Cause, r Registry) (Registry, error)
	// DeleteRegistry marks it deleting and removes its domains.
	DeleteRegistry(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}

// Domain is a host name that leads to a registry.
type Domain struct {
	Tenant    tenant.ID
	Registry  string // its slug
	Host      string // normalised
	Verified  bool   // only verified domains route
	Challenge string // what the TXT record must hold
	Version   int64
	CreatedAt time.Time
}

// Domains keeps the host names that tenants and operators added.
type Domains interface {
	// CreateDomain returns fault.AlreadyExists when the host is verified for
	// anybody, or known to this tenant: an unverified claim of another tenant
	// does not block. The registry is found by d.Registry.
	CreateDomain(ctx context.Context, by Cause, d Domain) (Domain, error)
	FindDomain(ctx context.Context, t tenant.ID, host string) (Domain, error)
	// ListDomains pages by host.
	ListDomains(ctx context.Context, t tenant.ID, p Page) ([]Domain, error)
	// VerifyDomain makes the domain route; fault.AlreadyExists when another
	// tenant verified it first.
	VerifyDomain(ctx context.Context, by Cause, t tenant.ID, host string) (Domain, error)
	// UpdateDomain changes which registry it leads to; Version as in UpdateTenant.
	UpdateDomain(ctx context.Context, by Cause, d Domain) (Domain, error)
	DeleteDomain(ctx context.Context, by Cause, t tenant.ID, host string) error
}
