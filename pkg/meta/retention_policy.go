package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tenant"
)

// RetentionPolicy is a retention policy of a tenant with what is kept about it.
type RetentionPolicy struct {
	retention.Policy

	Tenant       tenant.ID
	Slug         string
	Registry     string // slug of the one it is for; empty: every registry of the tenant, later ones too
	DisplayName  string
	Repositories []string // name patterns (oci.CheckPattern); none: all
	Disabled     bool     // it never runs, and counts for no repository
	Enforced     bool     // it deletes; else it only says what it would delete
	Interval     time.Duration
	MaxDeletions int64 // of one run
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time

	Run RetentionRun // the last one; not written with the policy
}

// Names reports whether the policy is for a repository, by its registry and its name.
func (p RetentionPolicy) Names(registry, repository string) bool {
	return !p.Disabled && (p.Registry == "" || p.Registry == registry) && (len(p.Repositories) == 0 || oci.MatchesAny(p.Repositories, repository))
}

// RetentionPolicyFor reports whether p decides about a repository, among all policies of
// the tenant in the order of their slugs: the first enforced one that names it does, and
// all observing ones before that.
func RetentionPolicyFor(all []RetentionPolicy, p RetentionPolicy, registry, repository string) bool {
	if !p.Names(registry, repository) {
		return false
	}
	for _, other := range all {
		if other.Slug < p.Slug && other.Enforced && other.Names(registry, repository) {
			return false
		}
	}
	return true
}

// RetentionDelay is how long after its last change an enforced policy begins to run.
const RetentionDelay = time.Hour

// RetentionPolicies keeps retention policies with their runs; absence is
// fault.ResourceUnknown. A change of any policy of a tenant takes effect at once: no
// deletion that was decided before is done after it. It may name a registry that was
// deleted since, and counts for it again when that comes back.
type RetentionPolicies interface {
	// CreateRetentionPolicy lets the first run begin: of an observing policy now, of an
	// enforced one after RetentionDelay.
	CreateRetentionPolicy(ctx context.Context, by Cause, p RetentionPolicy) (RetentionPolicy, error)
	FindRetentionPolicy(ctx context.Context, t tenant.ID, slug string) (RetentionPolicy, error)
	// ListRetentionPolicies pages by slug.
	ListRetentionPolicies(ctx context.Context, t tenant.ID, p Page) ([]RetentionPolicy, error)
	// UpdateRetentionPolicy changes everything but the slug; Version as in UpdateTenant. A
	// run of the policy ends, and the next one begins as after CreateRetentionPolicy.
	UpdateRetentionPolicy(ctx context.Context, by Cause, p RetentionPolicy) (RetentionPolicy, error)
	DeleteRetentionPolicy(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
	// RunRetentionPolicy lets a run begin now, unless one is running. fault.RequestInvalid
	// for a disabled policy.
	RunRetentionPolicy(ctx context.Context, by Cause, t tenant.ID, slug string) (RetentionPolicy, error)
}
