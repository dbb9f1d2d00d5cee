package proxy

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/chains"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// PullRequest is the registry and name of a pull.
type PullRequest struct {
	Tenant     tenant.ID
	TenantSlug string
	Registry   string        // slug
	Mirror     tenant.Mirror // the host's, which then counts in place of Registry
	Upstream   string        // host or alias, if the client names one; else the registry's chain is asked
	Namespace  string        // host, if the client names one besides Upstream
	Name       string        // in the registry or, with Upstream, at the upstream
	Hops       int           // how many registries forwarded the request
	Anonymous  bool          // the caller is not logged in
	CacheOnly  bool          // the caller may not fill the caches of upstreams: they are not asked
	// Caller is what the caller may do in other registries of the tenant, with the repository
	// that the path of the request names.
	Caller chain.Caller

	Requested meta.Repo // in the registry of the host, with the name in the path
	PullRules int64     // version of the tenant's pull rules
}

// pull is a PullRequest with its walk through the members.
type pull struct {
	PullRequest
	service  *Service
	walk     chain.Walk
	from     origin // of the manifest that was found
	unfilled bool   // the cache of an upstream answered, which the caller may not fill
}

// resolveChain finds the members to ask.
func (s *Service) resolveChain(ctx context.Context, req PullRequest) (context.Context, *pull, error) {
	ctx = upstream.WithHops(ctx, req.Hops)
	p := &pull{PullRequest: req, service: s}
	p.walk = chain.Walk{
		Name: req.Name, Direct: req.Upstream != "", Anonymous: req.Anonymous, Caller: req.Caller,
		Claimed: func() (bool, error) { return s.meta.ClaimedBy(ctx, req.Tenant, p.walk.Registries, req.Name) },
	}
	all, registry, err := s.topology(ctx, req)
	if err != nil {
		return ctx, p, err
	}
	if !p.walk.Direct {
		p.walk.Chain, err = chains.Follow(all, registry)
		return ctx, p, err
	}
	u, fills, err := namedUpstream(all, registry, req)
	p.CacheOnly = p.CacheOnly || !fills
	p.walk.Members = []chain.Member{chain.SingleUpstream(&u)}
	return ctx, p, err
}

// asking has one function for each kind of member.
type asking struct {
	hosted   func(r meta.Repo) error // nil: registries are not asked
	upstream func(m *chain.Member, r *cache.Repository) error
}

// members returns the function that a walk calls for each member. It finds the
// member's store or cache, and calls a.
func (p *pull) members(a asking) chain.AskFunc {
	return func(m *chain.Member, name string) error {
		switch {
		case m.Upstream != nil:
			r, err := p.service.caches.Repository(m.Upstream, p.TenantSlug, name, p.Hops)
			if err != nil {
				return err
			}
			r.CacheOnly = p.CacheOnly || !m.Rights(p.Caller).Has(access.Fill)
			r.Offline = p.Mirror.CachedOnly
			p.unfilled = p.unfilled || r.CacheOnly
			return a.upstream(m, r)
		case a.hosted == nil:
			return chain.ErrNotHere
		default:
			return chain.Internal(a.hosted(meta.Repo{Tenant: p.Tenant, Registry: m.Registry, Name: name}))
		}
	}
}

// setter returns a function that stores a result in *answer.
func setter[T any](answer *T) func(T, error) error {
	return func(found T, err error) error {
		*answer = found
		return err
	}
}

// find asks the members in order until one has the content. notHere is the error if
// certainly none has it.
func (p *pull) find(ctx context.Context, notHere error, a asking) error {
	err := p.walk.Find(p.members(a))
	if errors.Is(err, chain.ErrNotHere) {
		return p.explain(ctx, notHere)
	}
	return err
}

// byDigest finds content by digest, which is the same at every member.
type byDigest struct {
	digest oci.Digest
	hosted func(r meta.Repo) error
	stored func(r *cache.Repository) error // finds it in the upstream's cache
	// fetch gets it from the upstream. size is from a cached manifest, in bytes; -1 if
	// no manifest names the content.
	fetch func(r *cache.Repository, size int64) error
}

// findByDigest asks in three rounds: first all members without fetching; then the
// upstream whose manifest named the content, so that all of an image is from one
// member (contract row E11); then all others in order.
func (p *pull) findByDigest(ctx context.Context, notHere error, b byDigest) error {
	err := p.walk.Ask(p.walk.Members, p.members(asking{hosted: b.hosted, upstream: func(_ *chain.Member, r *cache.Repository) error {
		err := b.stored(r)
		if chain.OutcomeOf(err) == chain.NotHere {
			return chain.SkipError{Why: "it is asked only for content that no member has stored"}
		}
		return chain.Internal(err)
	}}))
	if chain.OutcomeOf(err) != chain.NotHere {
		return err
	}
	var named *chain.Member
	size := int64(-1)
	if !p.CacheOnly {
		if named, size, err = p.naming(ctx, b.digest); err != nil {
			return err
		}
	}
	var namedErr error
	if named != nil {
		err := p.walk.Ask([]chain.Member{*named}, p.members(asking{upstream: func(_ *chain.Member, r *cache.Repository) error {
			namedErr = b.fetch(r, size)
			return namedErr
		}}))
		if chain.OutcomeOf(err) != chain.NotHere {
			return err
		}
		notHere = gone(notHere, named, namedErr)
	}
	return p.find(ctx, notHere, asking{upstream: func(m *chain.Member, r *cache.Repository) error {
		if m == named {
			return namedErr // it was asked; its policy counts at its place in the order
		}
		return b.fetch(r, -1)
	}})
}

// naming finds the first upstream with a cached manifest that names the content,
// and the size in that manifest. It returns nil if no upstream has one.
func (p *pull) naming(ctx context.Context, d oci.Digest) (*chain.Member, int64, error) {
	var named *chain.Member
	size := int64(-1)
	err := p.walk.Ask(p.walk.Members, p.members(asking{upstream: func(m *chain.Member, r *cache.Repository) error {
		n, err := r.Naming(ctx, d)
		if err == nil {
			named, size = m, n
		}
		return chain.Internal(err)
	}}))
	if chain.OutcomeOf(err) == chain.NotHere {
		err = nil
	}
	return named, size, err
}
