package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/scan"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PullRule is what a tenant asks of images that are pulled from some of its repositories.
type PullRule struct {
	Tenant       tenant.ID
	Slug         string
	Registry     string   // slug of the one that is pulled from; empty: every registry of the tenant
	Repositories []string // patterns of names; none: all
	Tags         []string // patterns of the tag that is pulled; none: all, and pulls by digest

	Keys          []string // PEM; the image is signed by one of them or of Identities, if there are any
	Identities    []SignerIdentity
	TrustedRoot   string   // of Identities; empty: the operator's
	ArtifactTypes []string // each is that of a referrer of the image

	Scan   ScanRequirement
	MinAge time.Duration // since an image of an upstream was seen first

	Enforced    bool // pulls are refused; else they are only counted
	DisplayName string
	Disabled    bool // it does not count
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// ScanRequirement is what the newest result of a scan of an image must be.
type ScanRequirement struct {
	MaxAge      time.Duration `json:"max_age,omitempty"`      // since the scan ended; 0: any
	MaxSeverity scan.Severity `json:"max_severity,omitempty"` // of its findings; scan.Unspecified: any
}

// None reports whether no result is asked for.
func (r ScanRequirement) None() bool { return r == ScanRequirement{} }

// Selects reports whether the rule is for a pull from the repository of a registry, by a tag,
// which is empty for a pull by digest.
func (r *PullRule) Selects(registry, repository, tag string) bool {
	return !r.Disabled && (r.Registry == "" || r.Registry == registry) &&
		(len(r.Repositories) == 0 || oci.MatchesAny(r.Repositories, repository)) &&
		(len(r.Tags) == 0 || tag != "" && oci.MatchesAny(r.Tags, tag))
}

// PullRules keeps pull rules; absence is fault.ResourceUnknown. Each change raises the version
// that the sites of the tenant have.
type PullRules interface {
	CreatePullRule(ctx context.Context, by Cause, r PullRule) (PullRule, error)
	FindPullRule(ctx context.Context, t tenant.ID, slug string) (PullRule, error)
	// ListPullRules pages by slug.
	ListPullRules(ctx context.Context, t tenant.ID, p Page) ([]PullRule, error)
	// UpdatePullRule changes everything but the slug; Version as in UpdateTenant.
	UpdatePullRule(ctx context.Context, by Cause, r PullRule) (PullRule, error)
	DeletePullRule(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	PullPolicyFinder
}

// PullPolicy is all pull rules of a tenant that are not disabled, by slug.
type PullPolicy struct {
	Version int64 // as in tenant.Site
	Rules   []PullRule
}

// PullPolicyFinder finds what decides about pulls.
type PullPolicyFinder interface {
	// PullPolicy returns rules and version of one moment.
	PullPolicy(ctx context.Context, t tenant.ID) (PullPolicy, error)
}
