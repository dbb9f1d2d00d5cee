package admin

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Chains asks the members of chains as pulls do; the proxy service does.
type Chains interface {
	// Resolve finds a manifest and tells who was asked. That no one has it is not
	// an error. caller has its rights in the registries of the chain.
	Resolve(ctx context.Context, t tenant.ID, tenantSlug, registry, name string, ref oci.Reference, anonymous bool, caller chain.Caller) (chain.Trace, error)
	// CheckAddress is fault.Invalid, with Field "url", where the configuration of
	// this deployment does not let an upstream at the URL be connected to. It asks
	// the upstream for nothing.
	CheckAddress(ctx context.Context, tenantSlug, proxy, url string) error
	// CheckHelper is fault.Invalid if the operator declares no credential helper of that
	// name for this tenant and the registry at the URL.
	CheckHelper(name, tenantSlug, url string) error
	// Refresh asks one upstream, however fresh what is kept may be.
	Refresh(ctx context.Context, tenantSlug string, u meta.Upstream, name string, ref oci.Reference) (chain.Answer, error)
}

// ResolveReference tells how a reference is resolved.
func (s *Service) ResolveReference(ctx context.Context, req *pb.ResolveReferenceRequest) (*pb.Resolution, error) {
	v := view{all: true}
	if !callerOf(ctx).admin() { // not an auditor, either: what is resolved may be fetched
		var err error
		if v, err = s.viewByRules(ctx, req.GetName()); err != nil {
			return nil, err
		}
	}
	t, r, err := v.registries(s).find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	text, err := s.withoutHost(ctx, v, t, r, req.GetReference())
	if err != nil {
		return nil, err
	}
	name, ref, err := splitReference(text)
	if err != nil {
		return nil, fault.From(err).WithField("reference")
	}
	caller, err := v.resolver(r, name)
	if err != nil {
		return nil, err
	}
	if req.GetAnonymous() {
		rights, err := s.rightsAt(ctx, t, r, access.Principal{}, netip.Addr{})
		if err != nil {
			return nil, err
		}
		caller = chain.CallerOf(&rights, name)
	}
	a, err := s.chains.Resolve(ctx, t.ID, t.Slug, r.Slug, name, ref, req.GetAnonymous(), caller)
	if err != nil {
		return nil, err
	}
	m := &pb.Resolution{Repository: a.Name, Reference: a.Reference, Outcome: outcomes[a.Outcome]}
	for i, one := range a.Answers {
		if !v.all && i > 0 && i != a.Winner {
			continue
		}
		answer := answerMessage(one)
		answer.Wins = i == a.Winner
		m.Answers = append(m.Answers, answer)
	}
	for _, v := range a.PullRules {
		m.PullRules = append(m.PullRules, &pb.Resolution_PullRuleVerdict{
			PullRule: "pullRules/" + v.Rule, Enforced: v.Enforced, Met: v.Lacking == "", Detail: v.Lacking,
		})
	}
	return m, nil
}

// rightsAt are those of a request to the registry: what the rules of this moment say.
func (s *Service) rightsAt(ctx context.Context, t meta.Tenant, r meta.Registry, who access.Principal, from netip.Addr) (access.Rights, error) {
	p, err := s.store.AccessPolicy(ctx, t.ID)
	if err != nil {
		return access.Rights{}, err
	}
	site := tenant.Site{
		Tenant: t.ID, TenantSlug: t.Slug, AccessVersion: p.Version,
		Registry: r.ID, RegistrySlug: r.Slug, Settings: r.Settings,
	}
	groups, err := s.groupsOf(ctx, t.ID, who)
	return access.NewPolicy(p.Version, p.Rules).Rights(&site, who, from, groups...), err
}

// withoutHost takes the registry's own host from a reference as clients write it:
// dev.acme.localhost:5000/app:1. Another host is an error where it is one for
// sure: it has a port, is localhost, is of this deployment or of an upstream. Else
// it is a part of a repository's name, which may have dots.
func (s *Service) withoutHost(ctx context.Context, v view, t meta.Tenant, r meta.Registry, reference string) (string, error) {
	first, rest, ok := strings.Cut(reference, "/")
	if reference == "" {
		return "", invalid("reference", "it is missing: …?reference=app:1")
	}
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return reference, nil
	}
	host := strings.ToLower(first)
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	domains, err := s.verifiedDomains(ctx, t)
	if err != nil {
		return "", err
	}
	own := s.registryMessage(t, r, domains).GetHosts()
	if slices.Contains(own, name) {
		return rest, nil
	}
	if !v.all { // other hosts are not for its eyes
		return reference, nil
	}
	topology, err := s.store.FindTopology(ctx, t.ID)
	if err != nil {
		return "", err
	}
	if u, ok := chain.ByHost(topology, host); ok && u.Slug != host {
		return "", invalid("reference", "%q is of upstream %q; through this registry it is proxy/%s", clipped(reference), u.Slug, clipped(reference))
	}
	_, _, ours := s.pattern.Parse(name)
	if port != "" || ours || name == "localhost" || slices.ContainsFunc(domains, func(d meta.Domain) bool { return d.Host == name }) {
		return "", invalid("reference", "host %q is not of this registry, which answers at %s", clipped(first), strings.Join(own, ", "))
	}
	return reference, nil
}

// splitReference takes a name apart from its tag or digest. A tag beside a digest
// says nothing, as with clients.
func splitReference(text string) (string, oci.Reference, error) {
	rest, digest, byDigest := strings.Cut(text, "@")
	name, tag, tagged := strings.Cut(rest, ":")
	if err := oci.CheckName(name); err != nil {
		return "", oci.Reference{}, err
	}
	switch {
	case byDigest:
		tag = digest
	case !tagged:
		tag = "latest"
	}
	ref, err := oci.ParseReference(tag)
	return name, ref, err
}

var outcomes = map[chain.Outcome]pb.Resolution_Outcome{
	chain.Found: pb.Resolution_FOUND, chain.NotHere: pb.Resolution_NOT_HERE, chain.Denied: pb.Resolution_DENIED,
	chain.Outage: pb.Resolution_OUTAGE, chain.Skipped: pb.Resolution_SKIPPED,
}

func answerMessage(a chain.Answer) *pb.Resolution_Answer {
	return &pb.Resolution_Answer{
		Member: a.Member, Outcome: outcomes[a.Outcome], Detail: a.Detail, Digest: a.Digest,
		Cached: a.Cached, Stale: a.Stale, CheckTime: moment(a.CheckedAt),
	}
}
