package chains

import (
	"context"
	"slices"

	"github.com/go-kit/kit/endpoint"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/kit"
)

// Claims says which names registries have; meta.ClaimFinder does.
type Claims interface {
	ClaimedBy(ctx context.Context, t tenant.ID, registries []tenant.RegistryID, name string) (bool, error)
}

// PushGuard refuses pushes of callers who are not logged in to names that an
// upstream of the registry's chain serves. The first push takes a name: upstreams
// are not asked for it any more. So an anonymous caller could replace alpine by
// another image, for all pulling clients it here.
type PushGuard struct {
	Topologies *Topologies
	Claims     Claims
}

// Around guards the operations, which belong to pushes, and no others. It stands
// after the rules: a caller who may not push is told nothing of upstreams.
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
