// Package chains knows the chains of tenants' registries: it remembers how
// registries, groups and upstreams hang together, and keeps the names that an
// upstream serves from callers who are not logged in.
package chains

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// knownTenants is how many tenants' chains a process remembers.
const knownTenants = 1024

// lookupTimeout ends a look-up that outlived the requests waiting for it.
const lookupTimeout = 5 * time.Second

// Finder finds the topology of a tenant; meta.Store does.
type Finder interface {
	FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error)
}

// Topologies remembers how tenants' registries, groups and upstreams hang
// together, for tenant.CacheTTL at most, as a tenant.Directory remembers hosts.
// Safe for concurrent use.
type Topologies struct {
	meta   Finder
	now    func() time.Time
	memory atomic.Pointer[topologyMemory]
}

// topologyMemory is what is remembered since the last clear. A look-up that
// began before ends in the old memory, where nobody sees it.
type topologyMemory struct {
	known   *lru.Cache[tenant.ID, knownTopology]
	lookups singleflight.Group
}

type knownTopology struct {
	meta.Topology
	until time.Time
}

// NewTopologies makes an empty memory of what m finds.
func NewTopologies(m Finder) *Topologies {
	t := &Topologies{meta: m, now: time.Now}
	t.Clear()
	return t
}

// Clear forgets everything. Whoever changes registries, groups or upstreams in
// this process calls it after the change.
func (t *Topologies) Clear() {
	known, err := lru.New[tenant.ID, knownTopology](knownTenants)
	if err != nil {
		panic(err) // only for a size below 1
	}
	t.memory.Store(&topologyMemory{known: known})
}

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
	m := t.memory.Load()
	if k, ok := m.known.Get(id); ok && t.now().Before(k.until) {
		return k.Topology, nil
	}
	shared := context.WithoutCancel(ctx) // the look-up is everybody's
	done := m.lookups.DoChan(strconv.FormatInt(int64(id), 10), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, lookupTimeout)
		defer cancel()
		until := t.now().Add(tenant.CacheTTL) // the answer is as old as the question
		found, err := t.meta.FindTopology(ctx, id)
		if err == nil {
			m.known.Add(id, knownTopology{found, until})
		}
		return found, err
	})
	select {
	case <-ctx.Done():
		return meta.Topology{}, fault.From(ctx.Err())
	case r := <-done:
		if r.Err != nil {
			return meta.Topology{}, r.Err
		}
		return r.Val.(meta.Topology), nil
	}
}
