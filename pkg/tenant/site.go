// Package tenant resolves the host name of a request to its tenant and registry.
package tenant

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// ID identifies a tenant; it is never used again, unlike its slug.
type ID int64

// Unknown is an ID of no tenant: what is asked of it is not found, as of one that was deleted.
// Each slug has its own, so that limits and queues do not tell unknown tenants from others.
func Unknown(slug string) ID {
	sum := sha256.Sum256([]byte(slug))
	return -1 - ID(binary.BigEndian.Uint64(sum[:])>>1)
}

// RegistryID identifies a registry; it is never used again, unlike its slug.
type RegistryID int64

// UpstreamID identifies an upstream; it is never used again, unlike its slug.
type UpstreamID int64

// State is where a tenant, registry or repository is in its life.
type State string

// The states. While Deleting, the janitor removes the content; a tenant's row then
// stays as a tombstone in state Deleted.
const (
	Active    State = "active"
	Suspended State = "suspended"
	Deleting  State = "deleting"
	Deleted   State = "deleted"
)

// Settings are the settings of a registry. The zero value is the safe one.
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

	// UpstreamGroup is the slug of the group that is asked for content the registry
	// does not have; empty for none.
	UpstreamGroup string `json:"upstream_group,omitempty"`

	// MirrorUpstreams are the slugs of upstreams that are served below proxy/ and for
	// ?ns= in this registry, besides those of its chain.
	MirrorUpstreams Slugs `json:"mirror_upstreams,omitempty"`

	// Quota is what the registry may hold. A trigger of the database copies it to where
	// pushes are counted.
	Quota Quota `json:"quota,omitzero"`
}

// Site is the tenant and registry of a host name, with all that a request needs
// before rights are checked.
type Site struct {
	Host          string // normalised, without port; also the audience of tokens
	Tenant        ID
	TenantSlug    string
	Epoch         int64 // grows to revoke all tokens of the tenant
	AccessVersion int64 // of the tenant's access rules; 0 if it never had one
	PullRules     int64 // version of the tenant's pull rules; 0 if it never had one
	Suspended     bool  // the tenant is suspended: 403 for everything
	NoPasswords   bool  // clients log in with keys and access tokens only
	RateLimits    RateLimits
	Registry      RegistryID
	RegistrySlug  string
	Settings      Settings
	Mirror        Mirror `json:",omitzero"` // what a mirror host answers for
}

// Lookup is how to find the site of a normalised host: by its name in the table of
// domains; if it matches the deployment's pattern, by slugs; if it may be a mirror host, by
// the hash of its label.
type Lookup struct {
	Host                 string   // without the label of a mirror host, which is a secret
	TenantSlug, Registry string   // both empty when the host does not match the pattern
	Mirror               [32]byte // zero when the host is no mirror host
}

// Finder finds the site of a host; fault.HostUnknown if no site has it, or its
// tenant or registry is being deleted.
type Finder interface {
	FindSite(ctx context.Context, l Lookup) (Site, error)
}

// MainRegistry is the registry that is created with a tenant and has the tenant's
// own host name.
const MainRegistry = "main"

// CacheTTL bounds how long a process may use its cached site of a host: less than the 5 s
// within which a right that is taken away is gone (contract row U14).
const CacheTTL = 4 * time.Second
