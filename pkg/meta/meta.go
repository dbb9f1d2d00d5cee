// Package meta is the contract of the metadata store: tenants and their registries,
// repositories, manifests, tags, and which objects are live or condemned.
//
// Each method is one transaction of the storage protocol and decides inside
// it. Each noun has a small contract in a file of its own; every
// implementation passes metatest. All errors are *fault.Error: an outage is
// fault.Unavailable, never "not found".
//
// Comments cite the storage protocol by its sections: 1 invariants (Finding), 4
// uploads (Uploads), 5 the promise of a HEAD, and manifest PUT (Blobs, Manifests),
// 6 collection (Collector).
package meta

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Store has all contracts. Consumers take the small ones they need. All methods are
// safe for concurrent use.
type Store interface {
	tenant.Finder
	Provisioning
	Repositories
	DeletedRepositories
	Blobs
	Uploads
	Manifests
	Trash
	Tags
	TagHistory
	Adopter
	SigningKeys
	Identities
	Events
	EventSinks
	Cache
	Collector
	CacheCollector
	CacheTrimmer
	Checker
	Scrubs
	Purges
	HostedPulls
	ContentSizes
	RetentionRuns
	PrefetchRuns
	Search
	WebhookDeliveries
	UsageHours
	Quotas

	// Ping checks that the store is reachable, for readiness.
	Ping(ctx context.Context) error
	// Quiesce ends deletions in steps at their next step; the janitor continues them
	// after the next start. It is called when the process begins to stop.
	Quiesce()
	Close() error
}

// Provisioning is what operators and tenants configure.
type Provisioning interface {
	Tenants
	Registries
	Domains
	NameClaims
	Accounts
	IdentityProviders
	Mappings
	People
	PersonTokens
	Operators
	Sessions
	AccessRules
	AccessPolicies
	TagRules
	PromotionGates
	PullRules
	Webhooks
	RetentionPolicies
	Prefetches
	PrincipalGroups
	Upstreams
	Groups
	MirrorHosts
}

// Lifetimes are the waits of the storage protocol. The zero value means the
// defaults; every field's default is in DefaultLifetimes.
type Lifetimes struct {
	UploadTTL   time.Duration // of an idle upload session
	Grace       time.Duration // a committed blob that no manifest names yet; at least 1 h plus the longest push
	HeadGrace   time.Duration // how long a blob stays after a HEAD with push rights
	Released    time.Duration // blobs of a deleted manifest; without a trash only, since HeadGrace is enough where there is one
	StagedDelay time.Duration // between condemning a staged object and its deletion
	DeleteDelay time.Duration // between condemning a live object and its deletion: the restore window
	Evicted     time.Duration // the same for content that was never hosted: longer than a redirect is valid
	Committed   time.Duration // how long a committed session answers a repeated PUT
	Quarantine  time.Duration // how long a deleted tenant's slug is reserved
	Undelete    time.Duration // how long what was deleted can be restored; 0 = not at all
	TagHistory  time.Duration // how long the history of tags is kept
	Events      time.Duration // how long the audit log is kept; 0 = for good
}

// DefaultLifetimes are the values of the storage protocol.
var DefaultLifetimes = Lifetimes{
	UploadTTL:   24 * time.Hour,
	Grace:       25 * time.Hour,
	HeadGrace:   6 * time.Hour,
	Released:    24 * time.Hour,
	StagedDelay: 10 * time.Minute,
	DeleteDelay: 26 * time.Hour,
	Evicted:     10 * time.Minute,
	Committed:   time.Hour,
	Quarantine:  30 * 24 * time.Hour,
	Undelete:    24 * time.Hour,
	TagHistory:  90 * 24 * time.Hour,
	Events:      400 * 24 * time.Hour,
}

// Cause says who made a mutation. It becomes one event of the audit log, in the
// same transaction. Op is chosen once per request, before the first attempt: a
// repeated Op takes effect once and succeeds.
type Cause struct {
	Op        uuid.UUID
	Actor     string // "operators/alice", "operator", "serviceAccounts/ci", "anonymous"
	OnBehalf  string // of whom the actor did it: "tenants/acme" where an operator acts in a tenant; empty for itself
	RequestID string
	Address   string   // of the client; empty where it is not known
	UserAgent string   // as the client said, clipped; empty where it said none
	Changes   []Change // what it set, changed or took away
	Session   string   // the name of the session that made it; a change of the password of its own account does not end it

	ValidateOnly bool // a deletion of a configured record, a repository or a tag, or an undelete of content, only says whether it is possible

	OverrideTagRules bool // a deletion, or the undelete of a tag, also takes what tag rules protect, and its event says so
}

// Repo names a repository of a registry. Methods find its row by name.
type Repo struct {
	Tenant   tenant.ID
	Registry tenant.RegistryID
	Name     string
}

// Page selects at most Size items after After (exclusive, in the order of the
// list). Size is at least 0; the caller has clamped it.
type Page struct {
	After string
	Size  int
}
