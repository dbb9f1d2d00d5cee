// Package source finds content that the tenant stores already and that a chain would answer
// with: what adoption and promotion take over (protocol sections 5 and 15).
package source

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/policy"
)

// Meta is the part of meta.Store that is read.
type Meta interface {
	FindTopology(ctx context.Context, t tenant.ID) (meta.Topology, error)
	ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error)
	FindAdoptable(ctx context.Context, from []meta.Repo, d oci.Digest) (meta.Manifest, error)
	FindNeverHosted(ctx context.Context, t tenant.ID, blobs []oci.Digest) ([]meta.Blob, error)
	MarkSuspect(ctx context.Context, b meta.Blob) error
}

// Finder finds Sources.
type Finder struct {
	Meta   Meta
	Blobs  blob.Opener
	Policy policy.Checker
}

// Sources are the repositories with the tenant's own storage for one name.
type Sources struct {
	Finder
	Repos     []meta.Repo
	upstreams map[tenant.RegistryID]*meta.Upstream // of those that are caches
}

// Only is one hosted repository.
func (f Finder) Only(r meta.Repo) Sources { return Sources{Finder: f, Repos: []meta.Repo{r}} }

// InChain are the members' storages of the chain of a registry, for a name in it: the
// registry's own repository is not among them. It reads the chain without a cache: an
// outdated chain must not decide what is stored for good. The registry's own claim does not
// count, since a push makes it; claims of other members do.
func (f Finder) InChain(ctx context.Context, r meta.Repo, registry string, anonymous bool, caller chain.Caller) (Sources, error) {
	found := Sources{Finder: f, Repos: []meta.Repo{}, upstreams: map[tenant.RegistryID]*meta.Upstream{}}
	topology, err := f.Meta.FindTopology(ctx, r.Tenant)
	if err != nil {
		return found, err
	}
	c, err := chain.Of(topology, registry)
	if err != nil {
		return found, nil //nolint:nilerr // an invalid chain has no sources
	}
	storages := c.Storages(r.Name, caller)
	claimed := false
	if slices.ContainsFunc(storages, func(s chain.Storage) bool { return s.Unclaimed }) {
		if claimed, err = f.Meta.ClaimedBy(ctx, r.Tenant, c.Registries[1:], r.Name); err != nil {
			return found, err
		}
	}
	for _, s := range storages {
		if (!s.Unclaimed || !claimed) && (!s.Withheld || !anonymous) {
			found.Repos = append(found.Repos, meta.Repo{Tenant: r.Tenant, Registry: s.Registry, Name: s.Name})
			found.upstreams[s.Registry] = s.Upstream
		}
	}
	return found, nil
}

// Cached reports whether the repository is of an upstream's cache.
func (s Sources) Cached(r meta.Repo) bool { return s.upstreams[r.Registry] != nil }
