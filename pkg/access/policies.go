package access

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// Policies loads the policies of tenants and remembers them. A site says which version of
// its tenant's rules counts, so that a changed rule acts as soon as a changed setting of a
// registry does. It is safe for concurrent use.
type Policies struct {
	loaded *ttlcache.Cache[policyVersion, *Policy]
}

// policyVersion is one version of a tenant's rules.
type policyVersion struct {
	tenant  tenant.ID
	version int64
}

const (
	// maxPolicies is how many policies are remembered.
	maxPolicies = 4096
	// policyLife is how long a policy is used before it is loaded again, even if its version
	// is the same: in a restored database a version may stand for other rules.
	policyLife = time.Minute
)

// NewPolicies makes Policies of rules that load returns.
func NewPolicies(load func(ctx context.Context, t tenant.ID) ([]Rule, error)) *Policies {
	return &Policies{ttlcache.New(ttlcache.Options[policyVersion, *Policy]{
		Size: maxPolicies, Now: time.Now, Life: policyLife,
		Load: func(ctx context.Context, v policyVersion) (*Policy, error) {
			rules, err := load(ctx, v.tenant)
			return NewPolicy(rules), err
		},
	})}
}

// Of returns the policy of a site's tenant. A tenant that never had a rule costs nothing.
func (p *Policies) Of(ctx context.Context, s *tenant.Site) (*Policy, error) {
	if s.AccessVersion == 0 {
		return NoRules, nil
	}
	return p.loaded.Get(ctx, policyVersion{s.Tenant, s.AccessVersion})
}
