package proxy

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
)

// Ask says where a pull came in, and for what name.
type Ask struct {
	Tenant     tenant.ID
	TenantSlug string
	Registry   string // slug
	Upstream   string // host or alias, where the client names one; the registry's chain is asked otherwise
	Name       string // as clients of the registry, or of the upstream, say it
	Hops       int    // registries that the request came through before
	Member     bool   // the caller may pull from every registry of the tenant
	Anonymous  bool   // the caller is not logged in
}

// asked is an Ask with the members that it is for.
type asked struct {
	Ask
	chain chain.Chain
}

// follow finds out who is asked.
func (s *Service) follow(ctx context.Context, a Ask) (context.Context, asked, error) {
	ctx = upstream.WithHops(ctx, a.Hops)
	if a.Upstream != "" {
		u, err := s.reached(ctx, a)
		if err != nil {
			return ctx, asked{}, err
		}
		return ctx, asked{a, chain.Chain{Members: []chain.Member{chain.Alone(&u)}}}, nil
	}
	c, err := s.topologies.Of(ctx, a.Tenant, a.Registry)
	return ctx, asked{a, c}, err
}

// nameAt is the name in the upstream of what the client names. It is not ok
// where the tenant does not take that name from it.
func (a asked) nameAt(m *chain.Member) (string, bool) {
	if a.Upstream == "" {
		return chain.NameAt(m.Upstream, a.Name)
	}
	return a.Name, oci.CheckName(a.Name) == nil && chain.Offers(m.Upstream, a.Name)
}
