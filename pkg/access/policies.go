package access

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// Policies loads the policies of tenants and remembers the last one of each. A site says
// which version of its tenant's rules counts, so that a changed rule acts as soon as a
// changed setting of a registry does. It is safe for concurrent use.
type Policies struct {
	loaded *ttlcache.Cache[tenant.ID, *Policy]
}

// maxPolicies is how many policies are remembered, for tenant.CacheTTL each: after that one
// is loaded again even if its version is the same, since in a restored database a version
// may stand for other rules.
const maxPolicies = 4096

// reloads is how often a policy is loaded again that is older than its site says. After
// that it counts: the database was restored, and the site is from before.
const reloads = 2

// NewPolicies makes Policies of what load returns: a tenant's rules, and their version.
func NewPolicies(load func(ctx context.Context, t tenant.ID) ([]Rule, int64, error)) *Policies {
	return &Policies{ttlcache.New(ttlcache.Options[tenant.ID, *Policy]{
		Size: maxPolicies, Now: time.Now, Life: tenant.CacheTTL,
		Load: func(ctx context.Context, t tenant.ID) (*Policy, error) {
			rules, version, err := load(ctx, t)
			return NewPolicy(version, rules), err
		},
	})}
}

// Of returns the policy of a site's tenant. A tenant that never had a rule costs nothing.
func (p *Policies) Of(ctx context.Context, s *tenant.Site) (*Policy, error) {
	if s.AccessVersion == 0 {
		return NoRules, nil
	}
	policy, err := p.loaded.Get(ctx, s.Tenant)
	for range reloads { // the first may join a load that began before the change
		if err != nil || policy.version >= s.AccessVersion {
			break
		}
		p.loaded.Drop(s.Tenant)
		policy, err = p.loaded.Get(ctx, s.Tenant)
	}
	return policy, err
}
