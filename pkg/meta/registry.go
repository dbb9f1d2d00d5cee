package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Registry is a registry of a tenant.
type Registry struct {
	ID        tenant.RegistryID
	Tenant    tenant.ID
	Slug      string
	Settings  tenant.Settings
	Hosted    Hosted // output only
	State     tenant.State
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time // zero while it is active
	ExpireAt  time.Time // while deleted: when UndeleteRegistry becomes impossible
}

// Registries keeps the registries of a tenant, found by slug. Only methods that say
// so find a registry that is being deleted; others return fault.ResourceUnknown.
type Registries interface {
	// CreateRegistry returns fault.AlreadyExists for a slug in use, also by a registry
	// that is being deleted.
	CreateRegistry(ctx context.Context, by Cause, r Registry) (Registry, error)
	FindRegistry(ctx context.Context, t tenant.ID, slug string) (Registry, error)
	// ListRegistries pages by slug.
	ListRegistries(ctx context.Context, t tenant.ID, p Page) ([]Registry, error)
	// UpdateRegistry changes Settings; Version as in UpdateTenant.
	UpdateRegistry(ctx context.Context, by Cause, r Registry) (Registry, error)
	// DeleteRegistry marks it deleting, and its domains stop routing. After
	// Lifetimes.Undelete the janitor removes it with its domains and content. Without
	// force, fault.NotEmpty if it holds a manifest.
	DeleteRegistry(ctx context.Context, by Cause, t tenant.ID, slug string, version int64, force bool) error
	// UndeleteRegistry restores it with its domains and content, under the rules of
	// UndeleteTenant. Its setting for a group that was deleted meanwhile becomes
	// empty.
	UndeleteRegistry(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) (Registry, error)
	// FindAnyRegistry is FindRegistry, but also finds a registry that UndeleteRegistry
	// can restore.
	FindAnyRegistry(ctx context.Context, t tenant.ID, slug string) (Registry, error)
	// ListAllRegistries is ListRegistries with those that UndeleteRegistry can
	// restore.
	ListAllRegistries(ctx context.Context, t tenant.ID, p Page) ([]Registry, error)

	// CountContent counts the content of the active registries of a tenant, or of the
	// registry r if it is not 0; at most limit rows of each kind.
	CountContent(ctx context.Context, t tenant.ID, r tenant.RegistryID, limit int) (Content, error)
}

// Content counts hosted content: repositories with a manifest, and what they hold.
type Content struct {
	Repositories int64
	Manifests    int64
	Tags         int64
	Bytes        int64 // of distinct blobs
	AtLeast      bool  // counting reached its limit
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
	// CreateDomain returns fault.AlreadyExists when any tenant has verified the host,
	// or this tenant has it. Unverified domains of other tenants do not block; a
	// domain of the tenant's deleted registry is replaced. The registry is found by
	// d.Registry.
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
