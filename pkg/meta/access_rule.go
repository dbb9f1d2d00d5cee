package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// AccessRule is an access rule of a tenant with what is kept about it.
type AccessRule struct {
	access.Rule

	Tenant      tenant.ID
	DisplayName string
	Disabled    bool // it does not count
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// AccessRules keeps access rules; absence is fault.ResourceUnknown. A rule names only
// accounts, groups and registries of its tenant, which are not deleted while a rule
// names them: a later one of the same slug must not inherit rights. Each change grows
// the version of the tenant's AccessPolicy.
type AccessRules interface {
	CreateAccessRule(ctx context.Context, by Cause, r AccessRule) (AccessRule, error)
	FindAccessRule(ctx context.Context, t tenant.ID, slug string) (AccessRule, error)
	// ListAccessRules pages by slug.
	ListAccessRules(ctx context.Context, t tenant.ID, p Page) ([]AccessRule, error)
	// UpdateAccessRule changes everything but the slug; Version as in UpdateTenant.
	UpdateAccessRule(ctx context.Context, by Cause, r AccessRule) (AccessRule, error)
	DeleteAccessRule(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}

// AccessPolicy is what decides about the rights in a tenant, at one moment.
type AccessPolicy struct {
	Version int64         // that of tenant.Site; 0 if the tenant never had a rule
	Rules   []access.Rule // those that are not disabled and have not ended, by slug
}

// AccessPolicies loads what decides about rights.
type AccessPolicies interface {
	// AccessPolicy returns fault.ResourceUnknown for a tenant that does not exist.
	AccessPolicy(ctx context.Context, t tenant.ID) (AccessPolicy, error)
}

// PolicyLoader loads from a store for access.NewPolicies.
type PolicyLoader struct {
	Store interface {
		AccessPolicies
		GroupsOf(ctx context.Context, t tenant.ID, principal string) ([]string, int64, error)
	}
}

// RulesOf implements access.Loader.
func (l PolicyLoader) RulesOf(ctx context.Context, t tenant.ID) ([]access.Rule, int64, error) {
	p, err := l.Store.AccessPolicy(ctx, t)
	return p.Rules, p.Version, err
}

// GroupsOf implements access.Loader.
func (l PolicyLoader) GroupsOf(ctx context.Context, t tenant.ID, principal string) ([]string, int64, error) {
	return l.Store.GroupsOf(ctx, t, principal)
}
