// Package chains caches the chains of tenants' registries, and refuses
// anonymous pushes to names that an upstream serves.
package chains

import (
	"context"
	"slices"
	"time"

	"github.com/go-kit/kit/endpoint"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// knownTenants is how many tenants' chains a process caches.
const knownTenants = 1024

// Finder finds the topology of a tenant; meta.Store does.
type Finder interface {
	FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error)
}

// Topologies caches tenants' registries, groups and upstreams, for
// tenant.CacheTTL at most. Safe for concurrent use.
type Topologies struct {
	known *ttlcache.Cache[tenant.ID, meta.Topology]
}

// NewTopologies makes an empty memory of what m finds.
func NewTopologies(m Finder) *Topologies {
	return &Topologies{ttlcache.New(ttlcache.Options[tenant.ID, meta.Topology]{
		Size: knownTenants, Now: time.Now, Load: m.FindTopology, Life: tenant.CacheTTL,
	})}
}

// Clear forgets everything. It is called after each change of registries, groups
// or upstreams in this process.
func (t *Topologies) Clear() { t.known.Clear() }

// Of is the chain of the registry, by its slug. One that cannot be followed to its
// end is an outage.
func (t *Topologies) Of(ctx context.Context, id tenant.ID, registry string) (chain.Chain, error) {
	topology, err := t.Find(ctx, id)
	if err != nil {
		return chain.Chain{}, err
	}
	return Follow(topology, registry)
}

// Follow is the chain of the registry, by its slug. One that cannot be followed to its
// end is an outage.
func Follow(topology meta.Topology, registry string) (chain.Chain, error) {
	c, err := chain.Of(topology, registry)
	if err != nil {
		return chain.Chain{}, brokenChain(err)
	}
	return c, nil
}

// Reach is the topology with no upstreams but those that the caller reaches by the
// registry. A chain that cannot be followed to its end is an outage.
func Reach(topology meta.Topology, registry string, caller chain.Caller) (meta.Topology, error) {
	reached, err := chain.Reach(topology, registry, caller)
	if err != nil {
		return reached, brokenChain(err)
	}
	return reached, nil
}

func brokenChain(err error) error {
	return fault.Wrap(err, fault.Unavailable, fault.UnavailableReason,
		"the chain of this registry cannot be followed: its upstream group must be corrected")
}

// Find returns the tenant's topology, which is at most tenant.CacheTTL old.
func (t *Topologies) Find(ctx context.Context, id tenant.ID) (meta.Topology, error) {
	return t.known.Get(ctx, id)
}

// PushGuard refuses pushes of callers who are not logged in to names that an
// upstream of the registry's chain serves. The first push claims a name: upstreams
// are no longer asked for it. So an anonymous caller could replace alpine by
// another image, for all clients that pull it here.
type PushGuard struct {
	Topologies *Topologies
	Claims     meta.ClaimFinder
}

// Around guards the operations, which belong to pushes, and no others. It runs
// after the rules, so that a caller that may not push learns nothing about upstreams.
func (g PushGuard) Around(ops ...string) kit.Middleware {
	return func(op string) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			if !slices.Contains(ops, op) {
				return next
			}
			return func(ctx context.Context, req any) (any, error) {
				if err := g.check(ctx, front.CallOf(ctx)); err != nil {
					return nil, err
				}
				return next(ctx, req)
			}
		}
	}
}

// check lets a push pass to a name that the registry itself has, or had: it is
// taken already.
func (g PushGuard) check(ctx context.Context, c *front.Call) error {
	site, name := c.Site, c.Route.Name
	if !c.Principal.Anonymous() || site.Settings.UpstreamGroup == "" {
		return nil
	}
	chain, err := g.Topologies.Of(ctx, site.Tenant, site.RegistrySlug)
	if err != nil {
		return err
	}
	if _, ok := chain.UpstreamOf(name, false); !ok {
		return nil
	}
	own, err := g.Claims.ClaimedBy(ctx, site.Tenant, []tenant.RegistryID{site.Registry}, name)
	if err != nil || own {
		return err
	}
	claimed, err := g.Claims.ClaimedBy(ctx, site.Tenant, chain.Registries, name)
	if err != nil {
		return err
	}
	u, ok := chain.UpstreamOf(name, claimed)
	if !ok {
		return nil
	}
	return fault.New(fault.Denied, fault.DeniedReason,
		"the name %s belongs to upstream %s in this registry: log in to push to it, or choose another name", name, u.Slug).
		WithDetail(map[string]string{"name": name, "upstream": u.Slug})
}
