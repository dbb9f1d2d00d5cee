package meta

import (
	"context"
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Upstream is a remote registry that serves pulls of a tenant.
//
// Fetched content is kept in repositories of its cache registry, under their names
// at the upstream: Repo{Tenant, Cache, name}. They work like hosted repositories,
// but a cache registry has no host, is in no list of registries, and writes neither
// events nor name claims.
type Upstream struct {
	ID        tenant.UpstreamID
	Tenant    tenant.ID
	Slug      string
	Settings  UpstreamSettings
	Cache     tenant.RegistryID // of content that the current credential may see (invariant I12)
	Unproved  bool              // content fetched with former passwords is kept (RotateUpstream)
	Status    UpstreamStatus
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// UpstreamSettings are a tenant's settings of an upstream. Lists of names are
// patterns of paths (`library/**`); an empty Include takes all.
type UpstreamSettings struct {
	UpstreamTarget

	AuthHosts []string `json:"auth_hosts,omitempty"`

	// CredentialHelper is the operator's helper, by name, that the credential is from;
	// Username and Password are empty then.
	CredentialHelper string `json:"credential_helper,omitempty"`

	HostAliases  []string      `json:"host_aliases,omitempty"` // other names in proxy/<host>/ and ?ns=, besides the host of URL
	NamePrefix   string        `json:"name_prefix,omitempty"`  // put before a name to get the upstream's name
	Include      []string      `json:"include,omitempty"`
	Exclude      []string      `json:"exclude,omitempty"`
	AllowClaimed []string      `json:"allow_claimed,omitempty"`  // names to ask for although a hosted registry claims them
	TagTTL       time.Duration `json:"tag_ttl"`                  // how long a tag is served without asking again
	NegativeTTL  time.Duration `json:"negative_ttl"`             // how long a 404 is repeated
	StaleIfError time.Duration `json:"stale_if_error,omitempty"` // how long after its last check a tag is served during an outage; 0 = not
	Keep         time.Duration `json:"keep"`                     // how long content is kept after its last pull
	MaxBytes     int64         `json:"max_bytes,omitempty"`      // of cached blobs; 0 = no limit but the tenant's quota

	UpstreamEgress

	TagRules        []UpstreamTagRule `json:"tag_rules,omitempty"` // the first for a tag counts
	KeepGone        bool              `json:"keep_gone,omitempty"` // a tag that the upstream deleted is served as it was
	MinAge          time.Duration     `json:"min_age,omitempty"`   // since a manifest was seen first, before it is served
	ApprovedDigests []oci.Digest      `json:"approved_digests,omitempty"`
	Platforms       []string          `json:"platforms,omitempty"` // patterns of os/architecture/variant
	DeniedPlatforms []string          `json:"denied_platforms,omitempty"`
	Licenses        []string          `json:"licenses,omitempty"` // SPDX identifiers
	Signatures      []SignatureRule   `json:"signatures,omitempty"`

	// ServeAnonymous serves content fetched with the credential to callers who are not
	// logged in. nil, of an older version, means true.
	ServeAnonymous *bool `json:"serve_anonymous,omitempty"`

	// TrustNotFound takes each 404 as an absence, also one that may not be from a
	// registry.
	TrustNotFound bool `json:"trust_not_found,omitempty"`
}

// HasCredential reports whether requests use a credential. Content fetched with and
// without one is kept separately (invariant I12).
func (s UpstreamSettings) HasCredential() bool {
	return s.CredentialHelper != "" || s.hasCredential() || slices.ContainsFunc(s.Alternatives, UpstreamTarget.hasCredential)
}

// ServesAnonymous reports whether callers who are not logged in get content of the
// upstream, fetched or cached.
func (s UpstreamSettings) ServesAnonymous() bool {
	return !s.HasCredential() || s.ServeAnonymous == nil || *s.ServeAnonymous
}

// AnonymousByDefault reports whether they do only because ServeAnonymous was never
// set.
func (s UpstreamSettings) AnonymousByDefault() bool {
	return s.HasCredential() && s.ServeAnonymous == nil
}

// DefaultUpstreamSettings are the settings of an upstream with only a URL.
var DefaultUpstreamSettings = UpstreamSettings{
	TagTTL:       5 * time.Minute,
	NegativeTTL:  30 * time.Second,
	StaleIfError: 30 * 24 * time.Hour,
	Keep:         30 * 24 * time.Hour,
}

// UpstreamStatus is what the last process to use the upstream saw of it.
type UpstreamStatus struct {
	State              string    `json:"state,omitempty"` // upstream.Health; in rows of older versions the circuit breaker's: closed, open, half-open
	SucceededAt        time.Time `json:"succeeded_at,omitzero"`
	FailedAt           time.Time `json:"failed_at,omitzero"`
	Failure            string    `json:"failure,omitempty"` // safe for users
	RateLimit          int64     `json:"rate_limit,omitempty"`
	RateLimitRemaining int64     `json:"rate_limit_remaining,omitempty"`
	RateLimitWindow    int64     `json:"rate_limit_window,omitempty"` // seconds
	RateLimitReset     time.Time `json:"rate_limit_reset,omitzero"`
	CredentialUnused   bool      `json:"credential_unused,omitempty"` // the upstream never asked for it
}

// KeepUnproved is how long content is kept that was fetched with a former password, and
// MaxUnproved is for how many former passwords.
const (
	KeepUnproved = 7 * 24 * time.Hour
	MaxUnproved  = 32
)

// Upstreams keeps the upstreams of a tenant, found by slug (fault.ResourceUnknown
// if unknown).
type Upstreams interface {
	// CreateUpstream makes the upstream and its cache registry;
	// fault.AlreadyExists for a slug in use.
	CreateUpstream(ctx context.Context, by Cause, u Upstream) (Upstream, error)
	FindUpstream(ctx context.Context, t tenant.ID, slug string) (Upstream, error)
	// ListUpstreams pages by slug.
	ListUpstreams(ctx context.Context, t tenant.ID, p Page) ([]Upstream, error)
	// UpdateUpstream changes Settings; Version as in UpdateTenant. renew discards all
	// fetched content, also what RotateUpstream kept: a new cache registry replaces the old
	// one in the same transaction, and the janitor removes the old one.
	UpdateUpstream(ctx context.Context, by Cause, u Upstream, renew bool) (Upstream, error)
	// RotateUpstream is UpdateUpstream for another password of the same account. A new
	// cache registry replaces the old one, whose repositories are kept for
	// Cache.ProveCached for KeepUnproved. So are those that were kept for the old one, for
	// the rest of their time; of more than MaxUnproved passwords, the oldest are discarded.
	RotateUpstream(ctx context.Context, by Cause, u Upstream) (Upstream, error)
	// DeleteUpstream also discards fetched content; fault.InUse while a group names
	// the upstream.
	DeleteUpstream(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// RecordStatus changes Status only: no version, no event. A deleted upstream is
	// not an error.
	RecordStatus(ctx context.Context, t tenant.ID, id tenant.UpstreamID, s UpstreamStatus) error
}

// Policy says whether a walk continues after a member's failure.
type Policy string

// The policies. The empty Policy is the member's default: an outage stops, a
// denial stops if the upstream has a credential of the tenant's.
const (
	Stop     Policy = "stop"
	Continue Policy = "continue"
)

// Member is one entry of a group, by slug: a registry of the tenant or an upstream.
// Exactly one is set.
type Member struct {
	Registry string   `json:"registry,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Include  []string `json:"include,omitempty"` // patterns of names; empty takes all
	Exclude  []string `json:"exclude,omitempty"`
	OnOutage Policy   `json:"on_outage,omitempty"`
	OnDenied Policy   `json:"on_denied,omitempty"`
	// Checked says that Registry, and what its own group answers, is only for callers who
	// have the right to pull from it themselves. Without it the group delegates that right,
	// as all groups did before there was a choice.
	Checked bool `json:"checked,omitempty"`
}

// Group is an ordered list of members that are asked for content a registry does
// not have. A registry names its group in tenant.Settings.UpstreamGroup.
type Group struct {
	Tenant    tenant.ID
	Slug      string
	Members   []Member
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Groups keeps the upstream groups of a tenant, found by slug
// (fault.ResourceUnknown if unknown). An unknown member is fault.ResourceUnknown of
// kind Invalid, with Field "members". So are an unknown UpstreamGroup (Field
// "upstream_group") and an unknown one of MirrorUpstreams (Field
// "mirror_upstreams") in CreateRegistry and UpdateRegistry. DeleteGroup,
// DeleteUpstream and DeleteRegistry return fault.InUse, kind Conflict, for a
// resource that others name. The caller refuses cycles.
type Groups interface {
	// CreateGroup returns fault.AlreadyExists for a slug in use.
	CreateGroup(ctx context.Context, by Cause, g Group) (Group, error)
	FindGroup(ctx context.Context, t tenant.ID, slug string) (Group, error)
	// ListGroups pages by slug.
	ListGroups(ctx context.Context, t tenant.ID, p Page) ([]Group, error)
	// UpdateGroup changes Members; Version as in UpdateTenant.
	UpdateGroup(ctx context.Context, by Cause, g Group) (Group, error)
	DeleteGroup(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// FindTopology reads one snapshot of all registries, groups and upstreams of the
	// tenant. For an unknown tenant it is empty, without an error.
	FindTopology(ctx context.Context, t tenant.ID) (Topology, error)
}

// Topology is the registries, groups and upstreams of a tenant, from which chains
// are built.
type Topology struct {
	Registries map[string]TopologyRegistry // by slug
	Groups     map[string][]Member         // by slug
	Upstreams  map[string]Upstream         // by slug; without Status
}

// TopologyRegistry is a registry in a Topology.
type TopologyRegistry struct {
	ID    tenant.RegistryID
	Group string // slug of its group; empty for none
	// Mirrored are the slugs of tenant.Settings.MirrorUpstreams.
	Mirrored []string
	// What everybody may do there, as in tenant.Settings.
	AnonymousPull, AnonymousPush bool
}
