package access

import (
	"context"
	"net/netip"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// Policies loads the policies of tenants, and the groups of principals, and remembers the
// last ones. A site says which version of its tenant's rules and groups counts, so that a
// changed rule acts as soon as a changed setting of a registry does. It is safe for
// concurrent use.
type Policies struct {
	loaded  *ttlcache.Cache[tenant.ID, *Policy]
	members *ttlcache.Cache[member, membership]
}

// member is a principal of a tenant.
type member struct {
	tenant tenant.ID
	name   string
}

// membership is the groups of a principal that rules named, in a version.
type membership struct {
	groups  Groups
	version int64
}

// maxPolicies is how many policies are remembered, for tenant.CacheTTL each: after that one
// is loaded again even if its version is the same, since in a restored database a version
// may stand for other rules. The groups of so many principals are remembered for
// memberLife: each may take a statement.
const (
	maxPolicies = 4096
	memberLife  = 30 * time.Second
)

// reloads is how often a policy is loaded again that is older than its site says. After
// that it counts: the database was restored, and the site is from before.
const reloads = 2

// Loader loads what decides about rights.
type Loader interface {
	// RulesOf returns the rules of a tenant, and their version.
	RulesOf(ctx context.Context, t tenant.ID) ([]Rule, int64, error)
	// GroupsOf returns the names of the groups that a principal is in, and the version.
	GroupsOf(ctx context.Context, t tenant.ID, principal string) ([]string, int64, error)
}

// NewPolicies makes Policies of what the loader returns.
func NewPolicies(l Loader) *Policies {
	p := &Policies{loaded: ttlcache.New(ttlcache.Options[tenant.ID, *Policy]{
		Size: maxPolicies, Now: time.Now, Life: tenant.CacheTTL,
		Load: func(ctx context.Context, t tenant.ID) (*Policy, error) {
			rules, version, err := l.RulesOf(ctx, t)
			return NewPolicy(version, rules), err
		},
	})}
	p.members = ttlcache.New(ttlcache.Options[member, membership]{
		Size: maxPolicies, Now: time.Now, Life: memberLife,
		Load: func(ctx context.Context, m member) (membership, error) {
			policy, err := p.loaded.Get(ctx, m.tenant)
			if err != nil {
				return membership{}, err
			}
			groups, version, err := l.GroupsOf(ctx, m.tenant, m.name)
			// What rules of a later version name may be missing.
			return membership{policy.named(groups), min(version, policy.version)}, err
		},
	})
	return p
}

// Of returns the policy of a site's tenant. A tenant that never had a rule costs nothing.
func (p *Policies) Of(ctx context.Context, s *tenant.Site) (*Policy, error) {
	if s.AccessVersion == 0 {
		return NoRules, nil
	}
	return current(ctx, p.loaded, s.Tenant, s.AccessVersion, func(p *Policy) int64 { return p.version })
}

// Rights are those of the principal at the site, for a client at this address, now. The
// groups of a principal are loaded only where rules name groups.
func (p *Policies) Rights(ctx context.Context, s *tenant.Site, who Principal, from netip.Addr) (Rights, error) {
	policy, err := p.Of(ctx, s)
	if err != nil {
		return Rights{}, err
	}
	groups := noGroups
	if len(policy.groups) > 0 && !who.Anonymous() && who.Tenant == s.Tenant {
		m, err := current(ctx, p.members, member{s.Tenant, who.Name}, s.AccessVersion, func(m membership) int64 { return m.version })
		if err != nil {
			return Rights{}, err
		}
		groups = m.groups
	}
	return policy.rights(s, who, groups, from), nil
}

// current returns what is remembered of a key, loaded again where its version is older than
// the least that counts.
func current[K comparable, V any](ctx context.Context, c *ttlcache.Cache[K, V], key K, least int64, version func(V) int64) (V, error) {
	found, err := c.Get(ctx, key)
	for range reloads { // the first may join a load that began before the change
		if err != nil || version(found) >= least {
			break
		}
		c.Drop(key)
		found, err = c.Get(ctx, key)
	}
	return found, err
}
