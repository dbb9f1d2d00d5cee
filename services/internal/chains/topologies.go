// Package chains knows the chains of tenants' registries: it remembers how
// registries, groups and upstreams hang together, and keeps the names that an
// upstream serves from callers who are not logged in.
package chains

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/ttlcache"
)

// knownTenants is how many tenants' chains a process remembers.
const knownTenants = 1024

// Finder finds the topology of a tenant; meta.Store does.
type Finder interface {
	FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error)
}

// Topologies remembers how tenants' registries, groups and upstreams hang
// together, for tenant.CacheTTL at most. Safe for concurrent use.
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
	c, err := chain.Of(topology, registry)
	if err != nil {
		return chain.Chain{}, brokenChain(err)
	}
	return c, nil
}

// Reach is the topology with no upstreams but those that the registry names. A
// chain that cannot be followed to its end is an outage.
func (t *Topologies) Reach(ctx context.Context, id tenant.ID, registry string) (meta.Topology, error) {
	topology, err := t.Find(ctx, id)
	if err != nil {
		return topology, err
	}
	reached, err := chain.Reach(topology, registry)
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
