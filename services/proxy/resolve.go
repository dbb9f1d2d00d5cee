package proxy

import (
	"context"
	"errors"

	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/proxy/cache"
)

// Resolve finds a manifest as a pull would, by an anonymous caller or one who is
// logged in, with these rights in the registries of the chain. It returns the members that were asked and their results. If no member
// has the manifest, that is in the trace and not an error.
func (s *Service) Resolve(ctx context.Context, id tenant.ID, tenantSlug, registry, name string, ref oci.Reference, anonymous bool, caller chain.Caller) (chain.Trace, error) {
	trace := chain.Trace{Name: name, Reference: ref.String(), Winner: -1}
	ctx, p, err := s.resolveChain(ctx, PullRequest{Tenant: id, TenantSlug: tenantSlug, Registry: registry, Name: name, Anonymous: anonymous, Caller: caller, Requested: meta.Repo{Tenant: id, Name: name}})
	if err != nil {
		return trace, err
	}
	p.Requested.Registry = p.walk.Registries[0]
	own := &chain.Member{Name: "registries/" + registry, Registry: p.walk.Registries[0]}
	var found cache.Manifest
	p.from.repo = p.Requested
	found.Manifest, err = s.meta.FindManifest(ctx, p.Requested, ref)
	trace.Answers = []chain.Answer{answerOf(own, found, chain.Internal(err))}
	if err != nil && fault.KindOf(err) == fault.NotFound {
		found, err = p.manifest(ctx, ref)
		for _, r := range p.walk.Results {
			trace.Answers = append(trace.Answers, answerOf(r.Member, found, r.Err))
		}
	}
	trace.Outcome = chain.OutcomeOf(err)
	if err != nil {
		return trace, nil //nolint:nilerr // it is in the trace
	}
	trace.Winner = len(trace.Answers) - 1
	trace.PullRules, err = s.rules.Explain(ctx, p.rulesFor(0, ref), p.answer(found))
	for _, v := range trace.PullRules {
		switch {
		case !v.Enforced || v.Lacking == "" || trace.Outcome == chain.Outage:
		case v.Unknown:
			trace.Outcome = chain.Outage
		default:
			trace.Outcome = chain.Denied
		}
	}
	return trace, err
}

// answerOf is a member's result in a trace; found is valid if err is nil.
func answerOf(m *chain.Member, found cache.Manifest, err error) chain.Answer {
	a := chain.Answer{Member: m.Name, Outcome: chain.OutcomeOf(err), Detail: chain.WhyNotAsked(err)}
	switch {
	case err == nil:
		if m.Upstream != nil && !m.Upstream.Settings.ServesAnonymous() {
			a.Detail = "for callers who are logged in: " + chain.NotLoggedIn
		}
		if a.Detail == "" && m.Checked() {
			a.Detail = "for callers who may pull this from the registry itself: the group does not delegate that right"
		}
		a.Digest, a.Cached, a.Stale, a.CheckedAt = found.Digest.String(), found.Cached, found.Stale, found.CheckedAt
	case a.Outcome == chain.NotHere, a.Detail != "":
	default:
		a.Detail = fault.From(err).Message
	}
	return a
}

// CheckAddress is that of upstream.Clients.
func (s *Service) CheckAddress(ctx context.Context, tenantSlug, proxy, url string) error {
	return s.upstreams.CheckAddress(ctx, tenantSlug, proxy, url)
}

// CheckHelper is that of upstream.Clients.
func (s *Service) CheckHelper(name, tenantSlug, url string) error {
	return s.upstreams.CheckHelper(name, tenantSlug, url)
}

// Refresh fetches a reference from an upstream now, even if it is cached.
func (s *Service) Refresh(ctx context.Context, tenantSlug string, u meta.Upstream, name string, ref oci.Reference) (chain.Answer, error) {
	m := chain.SingleUpstream(&u)
	if !chain.Offers(&u, name) {
		return answerOf(&m, cache.Manifest{}, chain.ErrNotOffered), nil
	}
	r, err := s.caches.Repository(&u, tenantSlug, name, 0)
	if err != nil {
		return chain.Answer{}, err
	}
	found, err := r.Refresh(ctx, ref)
	if errors.Is(err, chain.ErrInternal) {
		return chain.Answer{}, err
	}
	return answerOf(&m, found, err), nil
}
