// Package tenant turns the host name of a request into the tenant and
// registry it is for.
package tenant

import (
	"context"
	"time"
)

// ID identifies a tenant for ever: it is never used again, unlike its slug.
type ID int64

// RegistryID identifies a registry; it is never used again, unlike its slug.
type RegistryID int64

// UpstreamID identifies an upstream; it is never used again, unlike its slug.
type UpstreamID int64

// State is where a tenant, registry or repository is in its life.
type State string

// The states. Deleting is final: the janitor removes the content, a tenant's
// row then stays as a tombstone in state Deleted.
const (
	Active    State = "active"
	Suspended State = "suspended"
	Deleting  State = "deleting"
	Deleted   State = "deleted"
)

// Settings are a registry's own switches. The zero value is the safe one.
type Settings struct {
	AnonymousPull bool `json:"anonymous_pull"`
	AnonymousPush bool `json:"anonymous_push"`
	ReadOnly      bool `json:"read_only"` // no push and no delete, for any caller

	// AllowMissingReferences lets a manifest name blobs and manifests the
	// repository does not hold (sparse images).
	AllowMissingReferences bool `json:"allow_missing_references"`

	// DeleteReferrers removes referrers together with their subject.
	DeleteReferrers bool `json:"delete_referrers"`

	// RedirectBlobs sends clients to the blob store for the bytes of blobs,
	// where the store can sign URLs.
	RedirectBlobs bool `json:"redirect_blobs"`

	// UpstreamGroup is the slug of the group that serves it for what the registry
	// itself does not have; empty for none.
	UpstreamGroup string `json:"upstream_group,omitempty"`

	// MirrorUpstreams are the slugs of upstreams that answer below proxy/ and to
	// ?ns= in this registry, besides those of its chain.
	MirrorUpstreams Slugs `json:"mirror_upstreams,omitempty"`
}

// Site is what one host name leads to: everything a request needs to know of
// its tenant and registry before rights are decided.
type Site struct {
	Host         string // normalised, without port; also the audience of tokens
	Tenant       ID
	TenantSlug   string
	Epoch        int64 // grows when all tokens of the tenant must die
	Suspended    bool  // the tenant is suspended: 403 for everything
	Registry     RegistryID
	RegistrySlug string
	Settings     Settings
}

// Lookup says where a normalised host leads: either by its name in the table
// of domains or, when the host matches the deployment's pattern, by slugs.
type Lookup struct {
	Host                 string
	TenantSlug, Registry string // both empty when the host does not match the pattern
}

// Finder finds the site of a host; fault.HostUnknown when no site has it,
// including for tenants and registries that are being deleted.
type Finder interface {
	FindSite(ctx context.Context, l Lookup) (Site, error)
}

// MainRegistry is the registry that is made with a tenant and answers at the
// tenant's own name.
const MainRegistry = "main"

// CacheTTL bounds how long a node may answer from what it remembers of a host.
const CacheTTL = 5 * time.Second
