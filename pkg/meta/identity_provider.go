package meta

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// The kinds of providers.
const (
	LDAP = "LDAP"
	OIDC = "OIDC" // an OpenID Connect issuer
)

// IdentityProvider knows people, who log in by what it says of them. It belongs to a tenant,
// or to the operator, who offers it to tenants.
type IdentityProvider struct {
	ID          int64     // never that of another one
	Tenant      tenant.ID // Deployment: the operator's
	Slug        string
	Kind        string
	DisplayName string
	Disabled    bool
	Settings    ProviderSettings
	Secret      []byte      // that Berth authenticates with, sealed; empty = none
	Tenants     []tenant.ID // that the operator's is offered to; empty = all
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// ProviderSettings are what is not secret of an IdentityProvider.
type ProviderSettings struct {
	Refresh time.Duration `json:"refresh"` // how often what it says of a person is read again
	Grace   time.Duration `json:"grace"`   // how long it counts longer than that while the provider cannot be asked
	LDAP    *LDAPSettings `json:"ldap,omitempty"`
	OIDC    *OIDCSettings `json:"oidc,omitempty"`

	Mappings []Mapping `json:"mappings,omitempty"`
}

// OIDCSettings say how an issuer is asked, as those of package oidclogin do, but for the secret.
type OIDCSettings struct {
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes,omitempty"`
	Username string   `json:"username,omitempty"` // claims
	Groups   string   `json:"groups,omitempty"`

	GroupsMaxAge time.Duration `json:"groups_max_age"` // how long groups count after a login without a refresh token
}

// LDAPSettings say how a directory is asked, as those of package ldaplogin do, but for the
// password.
type LDAPSettings struct {
	Servers  []string `json:"servers"`
	CA       string   `json:"ca,omitempty"`
	Insecure bool     `json:"insecure,omitempty"`

	BindDN         string `json:"bind_dn,omitempty"`
	UserDN         string `json:"user_dn,omitempty"`
	UserBase       string `json:"user_base,omitempty"`
	UserFilter     string `json:"user_filter,omitempty"`
	DisabledFilter string `json:"disabled_filter,omitempty"`

	Schema      uint8  `json:"schema,omitempty"` // ldaplogin.Schema
	Name        string `json:"name,omitempty"`   // attributes
	DisplayName string `json:"display_name,omitempty"`
	Email       string `json:"email,omitempty"`
	Subject     string `json:"subject,omitempty"`
	MemberOf    string `json:"member_of,omitempty"`

	GroupBase   string `json:"group_base,omitempty"`
	GroupFilter string `json:"group_filter,omitempty"`
	Nested      uint8  `json:"nested,omitempty"` // ldaplogin.Nesting
	GroupsByDN  bool   `json:"groups_by_dn,omitempty"`

	Timeout time.Duration `json:"timeout,omitempty"`
}

// Name is how a provider is named in the log of a tenant, and in groups of the tenant.
func (p IdentityProvider) Name() string {
	if p.Tenant == Deployment {
		return "operator/identityProviders/" + p.Slug
	}
	return "identityProviders/" + p.Slug
}

// OfferedTo reports whether people of the tenant may log in by it.
func (p IdentityProvider) OfferedTo(t tenant.ID) bool {
	return p.Tenant == t || p.Tenant == Deployment && (len(p.Tenants) == 0 || slices.Contains(p.Tenants, t))
}

// SecretName is the name to which pkg/seal binds the provider's secret.
func (p IdentityProvider) SecretName() string {
	return "tenants/" + strconv.FormatInt(int64(p.Tenant), 10) + "/identityProviders/" + p.Slug + "/secret"
}

// IdentityProviders keeps identity providers; absence is fault.ResourceUnknown.
type IdentityProviders interface {
	CreateIdentityProvider(ctx context.Context, by Cause, p IdentityProvider) (IdentityProvider, error)
	FindIdentityProvider(ctx context.Context, t tenant.ID, slug string) (IdentityProvider, error)
	// FindIdentityProviderByID finds one of any tenant.
	FindIdentityProviderByID(ctx context.Context, id int64) (IdentityProvider, error)
	// ListIdentityProviders pages by slug.
	ListIdentityProviders(ctx context.Context, t tenant.ID, p Page) ([]IdentityProvider, error)
	// UpdateIdentityProvider changes all but Kind; Version as in UpdateTenant. The groups that
	// it gave end where it is disabled, or not offered any more.
	UpdateIdentityProvider(ctx context.Context, by Cause, p IdentityProvider) (IdentityProvider, error)
	// DeleteIdentityProvider returns fault.InUse for one that a group of accounts names. What it
	// said of people ends at once; DuePeople then returns them.
	DeleteIdentityProvider(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}
