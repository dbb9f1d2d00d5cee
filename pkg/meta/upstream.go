package meta

import (
	"context"
	"strconv"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Upstream is a remote registry that a tenant's pulls may be answered from.
//
// What was fetched from it is kept in repositories of its cache registry, under
// their names at the upstream: Repo{Tenant, Cache, name}. All that works on the
// repositories of a registry works on them, but a cache registry has no host, is
// in no list of registries, and writes neither events nor name claims.
type Upstream struct {
	ID        tenant.UpstreamID
	Tenant    tenant.ID
	Slug      string
	Settings  UpstreamSettings
	Cache     tenant.RegistryID // of what was fetched as it is configured now (invariant I12)
	Status    UpstreamStatus
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// UpstreamSettings are what a tenant says of an upstream. Lists of names are
// patterns of paths (`library/**`); an empty Include takes all.
type UpstreamSettings struct {
	URL          string        `json:"url"`
	Username     string        `json:"username,omitempty"`
	Password     []byte        `json:"password,omitempty"` // sealed with the deployment's key
	AuthHosts    []string      `json:"auth_hosts,omitempty"`
	HostAliases  []string      `json:"host_aliases,omitempty"` // besides the host of URL: names it has in proxy/<host>/ and ?ns=
	NamePrefix   string        `json:"name_prefix,omitempty"`  // put before a name to make it the upstream's
	Include      []string      `json:"include,omitempty"`
	Exclude      []string      `json:"exclude,omitempty"`
	AllowClaimed []string      `json:"allow_claimed,omitempty"`  // names to ask for although a hosted registry has, or had, them
	TagTTL       time.Duration `json:"tag_ttl"`                  // how long a tag is answered without asking again
	NegativeTTL  time.Duration `json:"negative_ttl"`             // how long a 404 is
	StaleIfError time.Duration `json:"stale_if_error,omitempty"` // how long past its last check a tag is answered while the upstream is out; 0 = not
	Keep         time.Duration `json:"keep"`                     // how long content is kept after its last pull
	MaxBytes     int64         `json:"max_bytes,omitempty"`      // of cached blobs; 0 = no limit but the tenant's quota

	// ServeAnonymous lets callers who are not logged in have what the upstream gives
	// for its credential. nil: it was made before there was a choice, and they do.
	ServeAnonymous *bool `json:"serve_anonymous,omitempty"`

	// TrustNotFound takes each 404 for an absence, also one that does not show that a
	// registry said it.
	TrustNotFound bool `json:"trust_not_found,omitempty"`
}

// HasCredential says whether the upstream is asked with a credential. What was
// fetched with one is kept apart from what was not (invariant I12).
func (s UpstreamSettings) HasCredential() bool { return s.Username != "" || len(s.Password) > 0 }

// ServesAnonymous says whether callers who are not logged in are answered from the
// upstream, or from what is kept of it.
func (s UpstreamSettings) ServesAnonymous() bool {
	return !s.HasCredential() || s.ServeAnonymous == nil || *s.ServeAnonymous
}

// AnonymousByDefault says whether they are only since it was always so.
func (s UpstreamSettings) AnonymousByDefault() bool {
	return s.HasCredential() && s.ServeAnonymous == nil
}

// DefaultUpstreamSettings are those of an upstream of which only the URL is
// known.
var DefaultUpstreamSettings = UpstreamSettings{
	TagTTL:       5 * time.Minute,
	NegativeTTL:  30 * time.Second,
	StaleIfError: 30 * 24 * time.Hour,
	Keep:         30 * 24 * time.Hour,
}

// UpstreamStatus is what the process that asked last saw of the upstream.
type UpstreamStatus struct {
	State              string    `json:"state,omitempty"` // upstream.Health; before that was kept, of the circuit breaker: closed, open, half-open
	SucceededAt        time.Time `json:"succeeded_at,omitzero"`
	FailedAt           time.Time `json:"failed_at,omitzero"`
	Failure            string    `json:"failure,omitempty"` // safe for users
	RateLimit          int64     `json:"rate_limit,omitempty"`
	RateLimitRemaining int64     `json:"rate_limit_remaining,omitempty"`
	RateLimitWindow    int64     `json:"rate_limit_window,omitempty"` // seconds
	CredentialUnused   bool      `json:"credential_unused,omitempty"` // the upstream never asked for it
}

// Upstreams keeps the upstreams of a tenant, found by slug
// (fault.ResourceUnknown when there is none).
type Upstreams interface {
	// CreateUpstream makes the upstream and its cache registry;
	// fault.AlreadyExists for a slug in use.
	CreateUpstream(ctx context.Context, by Cause, u Upstream) (Upstream, error)
	FindUpstream(ctx context.Context, t tenant.ID, slug string) (Upstream, error)
	// ListUpstreams pages by slug.
	ListUpstreams(ctx context.Context, t tenant.ID, p Page) ([]Upstream, error)
	// UpdateUpstream changes Settings; Version as in UpdateTenant. renew gives up
	// all that was fetched so far: another cache registry takes its place in the
	// same transaction, and the janitor removes the old one.
	UpdateUpstream(ctx context.Context, by Cause, u Upstream, renew bool) (Upstream, error)
	// DeleteUpstream gives up what was fetched, too; fault.InUse while a group
	// names the upstream.
	DeleteUpstream(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// RecordStatus changes Status and nothing else: no version, no event. An
	// upstream that is gone is not an error.
	RecordStatus(ctx context.Context, t tenant.ID, id tenant.UpstreamID, s UpstreamStatus) error
}

// Policy says what a member's failure does to a walk.
type Policy string

// The policies. The empty Policy is the member's default: an outage stops, a
// denial stops if the upstream has a credential of the tenant's.
const (
	Stop     Policy = "stop"
	Continue Policy = "continue"
)

// Member is one step of a group: a registry of the tenant or an upstream, by
// slug; exactly one is set.
type Member struct {
	Registry string   `json:"registry,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Include  []string `json:"include,omitempty"` // patterns of names; empty takes all
	Exclude  []string `json:"exclude,omitempty"`
	OnOutage Policy   `json:"on_outage,omitempty"`
	OnDenied Policy   `json:"on_denied,omitempty"`
}

// Group is an ordered list of members that answer for what a registry does not
// have. A registry names its group in tenant.Settings.UpstreamGroup.
type Group struct {
	Tenant    tenant.ID
	Slug      string
	Members   []Member
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Groups keeps the upstream groups of a tenant, found by slug
// (fault.ResourceUnknown when there is none). A member that does not exist is
// fault.ResourceUnknown of kind Invalid, with Field "members"; likewise
// CreateRegistry and UpdateRegistry refuse an UpstreamGroup that does not exist
// (Field "upstream_group"), and MirrorUpstreams of which one does not (Field
// "mirror_upstreams"). What others name cannot be deleted: fault.InUse,
// kind Conflict, from DeleteGroup, DeleteUpstream and DeleteRegistry. Cycles are
// the caller's to refuse.
type Groups interface {
	// CreateGroup returns fault.AlreadyExists for a slug in use.
	CreateGroup(ctx context.Context, by Cause, g Group) (Group, error)
	FindGroup(ctx context.Context, t tenant.ID, slug string) (Group, error)
	// ListGroups pages by slug.
	ListGroups(ctx context.Context, t tenant.ID, p Page) ([]Group, error)
	// UpdateGroup changes Members; Version as in UpdateTenant.
	UpdateGroup(ctx context.Context, by Cause, g Group) (Group, error)
	DeleteGroup(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// FindTopology reads, at one moment, all that chains of the tenant are made
	// of. A tenant that is unknown has none: that is not an error.
	FindTopology(ctx context.Context, t tenant.ID) (Topology, error)
}

// Topology is how the registries, groups and upstreams of a tenant hang
// together.
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
}

// PasswordOf says where the sealed password of an upstream belongs, for pkg/seal.
func PasswordOf(u Upstream) string {
	return "tenants/" + strconv.FormatInt(int64(u.Tenant), 10) + "/upstreams/" + u.Slug + "/password"
}
