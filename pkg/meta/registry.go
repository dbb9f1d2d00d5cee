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
	DeletedAt time.Time // zero while it is active
	ExpireAt  time.Time // until then UndeleteRegistry brings it back; else zero
}

// Registries keeps the registries of a tenant, found by slug. Those being
// deleted are found only by the methods that say so (else fault.ResourceUnknown).
type Registries interface {
	// CreateRegistry returns fault.AlreadyExists for a slug in use, also while
	// its predecessor is still being deleted.
	CreateRegistry(ctx context.Context, by Cause, r Registry) (Registry, error)
	FindRegistry(ctx context.Context, t tenant.ID, slug string) (Registry, error)
	// ListRegistries pages by slug.
	ListRegistries(ctx context.Context, t tenant.ID, p Page) ([]Registry, error)
	// UpdateRegistry changes Settings; Version as in UpdateTenant.
	UpdateRegistry(ctx context.Context, by Cause, r Registry) (Registry, error)
	// DeleteRegistry marks it deleting, and its domains route no more.
	// Lifetimes.Undelete later the janitor removes it with its domains and content.
	// Without force, fault.NotEmpty where it holds a manifest.
	DeleteRegistry(ctx context.Context, by Cause, t tenant.ID, slug string, version int64, force bool) error
	// UndeleteRegistry brings it back with its domains and content; otherwise as
	// UndeleteTenant. A group that was deleted meanwhile is not named any more.
	UndeleteRegistry(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) (Registry, error)
	// FindAnyRegistry is FindRegistry, but also finds a registry that
	// UndeleteRegistry can bring back.
	FindAnyRegistry(ctx context.Context, t tenant.ID, slug string) (Registry, error)
	// ListAllRegistries is ListRegistries with those that UndeleteRegistry can bring
	// back.
	ListAllRegistries(ctx context.Context, t tenant.ID, p Page) ([]Registry, error)

	// CountContent counts what the active registries of a tenant hold, or the one
	// registry r if it is not 0; at most limit rows of each kind.
	CountContent(ctx context.Context, t tenant.ID, r tenant.RegistryID, limit int) (Content, error)
}

// Content is how much was pushed and is there: repositories that hold a
// manifest, and what is in them.
type Content struct {
	Repositories int64
	Manifests    int64
	Tags         int64
	Bytes        int64 // of distinct blobs
	AtLeast      bool  // there may be more: counting came to its limit
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

// Domains keeps the host names that tenants and operators added. Those of a
// registry that is being deleted are not found.
type Domains interface {
	// CreateDomain returns fault.AlreadyExists when the host is verified for
	// anybody, or known to this tenant: an unverified claim of another tenant
	// does not block, nor does a domain of a deleted registry, whose place it takes.
	// The registry is found by d.Registry.
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
