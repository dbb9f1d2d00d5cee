package meta

import (
	"cmp"
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
	Members     []string        // names of principals, sorted, none twice
	Identities  []GroupIdentity // whose people are members too; sorted, none twice
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// GroupIdentity is a group of an identity provider.
type GroupIdentity struct {
	Provider int64  `json:"provider"` // IdentityProvider.ID
	Group    string `json:"group"`
}

// Compare orders by provider and name.
func (g GroupIdentity) Compare(other GroupIdentity) int {
	return cmp.Or(cmp.Compare(g.Provider, other.Provider), cmp.Compare(g.Group, other.Group))
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
	// UpdatePrincipalGroup changes DisplayName, Members and Identities; Version as in UpdateTenant.
	UpdatePrincipalGroup(ctx context.Context, by Cause, g PrincipalGroup) (PrincipalGroup, error)
	DeletePrincipalGroup(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// GroupsOf returns the names of the groups that a principal is in, by name or by what an
	// identity provider says of it and still counts, sorted, and the version of the tenant's
	// AccessPolicy at that moment.
	GroupsOf(ctx context.Context, t tenant.ID, principal string) ([]string, int64, error)
}
