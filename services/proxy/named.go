package proxy

import (
	"context"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/chains"
)

// topology is that of the tenant, with the registry whose chain is asked.
func (s *Service) topology(ctx context.Context, req PullRequest) (meta.Topology, string, error) {
	all, err := s.topologies.Find(ctx, req.Tenant)
	if err == nil && req.Mirror.Slug != "" {
		return chain.ForMirror(all, req.Mirror), chain.MirrorRegistry, nil
	}
	return all, req.Registry, err
}

// namedUpstream is the upstream that the request names, if the registry names it
// too, and whether the caller may have content fetched from it there.
func namedUpstream(all meta.Topology, registry string, req PullRequest) (meta.Upstream, bool, error) {
	reach, err := chains.Reach(all, registry, req.Caller)
	if err != nil {
		return meta.Upstream{}, false, err
	}
	u, ok := chain.ByHost(reach, req.Upstream)
	err = mayName(&u, ok, req, all, reach)
	return u, err == nil && chain.Fills(all, registry, u.Slug, req.Caller), err
}

// mayName returns why the request must not name the upstream; found says whether the
// caller reaches it.
func mayName(u *meta.Upstream, found bool, req PullRequest, all, reach meta.Topology) error {
	switch {
	case req.Anonymous && found && !u.Settings.ServesAnonymous(), req.Anonymous && !found && hidesUpstream(all, reach):
		return chain.ErrLogin
	case !found:
		return fault.New(fault.NotFound, fault.NameUnknown, "upstream %q not found in this registry", req.Upstream)
	case req.Namespace != "" && !chain.IsNamed(u, req.Namespace):
		return fault.New(fault.Invalid, fault.RequestInvalid,
			"the path names upstream %q and ns names %q: send one of them, or, if they are the same registry, add %q to the upstream's host_aliases",
			req.Upstream, req.Namespace, req.Namespace).WithField("ns")
	default:
		return nil
	}
}

// hidesUpstream reports whether the tenant has an upstream that anonymous callers
// do not reach: they must not learn which ones exist.
func hidesUpstream(all, reach meta.Topology) bool {
	for slug, u := range all.Upstreams {
		if _, ok := reach.Upstreams[slug]; !ok || !u.Settings.ServesAnonymous() {
			return true
		}
	}
	return false
}
