package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// PrincipalGroup is a group of accounts of a tenant, which access rules name. It is not
// Group, which is a list of registries and upstreams.
type PrincipalGroup struct {
	Tenant      tenant.ID
	Slug        string
	DisplayName string
	Members     []string // names of principals, sorted, none twice
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// PrincipalGroups keeps groups of accounts; absence is fault.ResourceUnknown. An unknown
// member is fault.ResourceUnknown of kind Invalid, with Field "members[i]". An account that
// is deleted leaves its groups. DeletePrincipalGroup returns fault.InUse for a group that an
// access rule names. Each change grows the version of the tenant's AccessPolicy.
type PrincipalGroups interface {
	CreatePrincipalGroup(ctx context.Context, by Cause, g PrincipalGroup) (PrincipalGroup, error)
	FindPrincipalGroup(ctx context.Context, t tenant.ID, slug string) (PrincipalGroup, error)
	// ListPrincipalGroups pages by slug.
	ListPrincipalGroups(ctx context.Context, t tenant.ID, p Page) ([]PrincipalGroup, error)
	// UpdatePrincipalGroup changes DisplayName and Members; Version as in UpdateTenant.
	UpdatePrincipalGroup(ctx context.Context, by Cause, g PrincipalGroup) (PrincipalGroup, error)
	DeletePrincipalGroup(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// GroupsOf returns the names of the groups that a principal is in, sorted, and the
	// version of the tenant's AccessPolicy at that moment.
	GroupsOf(ctx context.Context, t tenant.ID, principal string) ([]string, int64, error)
}
