package admin

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// upstreamPrefix begins the names of repositories by which clients name an upstream themselves.
const upstreamPrefix = "proxy/"

// accessTest is a question about rights: who, where, and which repository.
type accessTest struct {
	view     view // of the caller
	tenant   meta.Tenant
	registry meta.Registry
	name     string // of the repository, as the path of a request has it
	who      access.Principal
	groups   []string                      // of the principal
	blocked  string                        // why no request of the principal is served
	rights   access.Rights                 // about the repository alone
	rules    []meta.AccessRule             // all of the tenant
	misses   []access.Miss                 // of rules
	own      access.Explanation            // in the tested registry
	others   map[string]access.Explanation // in other registries, by slug
}

// TestAccess says what a principal may do with a repository, and why.
func (s *Service) TestAccess(ctx context.Context, req *pb.TestAccessRequest) (*pb.TestAccessResponse, error) {
	t, err := s.findTenant(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.enterTest(ctx, t.ID); err != nil {
		return nil, err
	}
	defer s.tests.Release(t.ID, 1)
	q, err := s.accessTest(ctx, t, req)
	if err != nil {
		return nil, err
	}
	members, err := s.testMembers(ctx, q)
	if err != nil {
		return nil, err
	}
	m := &pb.TestAccessResponse{
		Registry: "tenants/" + q.tenant.Slug + "/registries/" + q.registry.Slug, Repository: q.name,
		Principal: q.who.Actor(), Role: pb.ServiceAccount_Role(pb.ServiceAccount_Role_value[string(q.who.Role)]),
		Groups: q.groups, Blocked: q.blocked, Members: members,
	}
	for _, known := range actionsOfRules {
		m.Verdicts = append(m.Verdicts, q.verdict(known.action))
	}
	return m, nil
}

func (s *Service) accessTest(ctx context.Context, t meta.Tenant, req *pb.TestAccessRequest) (accessTest, error) {
	q := accessTest{tenant: t, others: map[string]access.Explanation{}}
	var err error
	if q.view, err = s.viewOf(ctx, req.GetName()); err != nil {
		return q, err
	}
	if q.who, q.blocked, err = s.testedPrincipal(ctx, q, req.GetPrincipal()); err != nil {
		return q, err
	}
	if q.registry, err = s.testedRegistry(ctx, q, req); err != nil {
		return q, err
	}
	if q.name, _, err = splitReference(req.GetReference()); err != nil {
		return q, fault.From(err).WithField("reference")
	}
	address := netip.Addr{}
	if text := req.GetAddress(); text != "" {
		if address, err = netip.ParseAddr(text); err != nil {
			return q, invalid("address", "%q is not an IP address, such as 192.0.2.1", clipped(text))
		}
	}
	rights, err := s.rightsAt(ctx, q.tenant, q.registry, q.who, address)
	if err != nil {
		return q, err
	}
	q.rights = rights.About(q.name)
	q.own = q.rights.Explain(q.name)
	if q.groups, err = s.groupsOf(ctx, q.tenant.ID, q.who); err != nil {
		return q, err
	}
	if q.rules, err = s.allAccessRules(ctx, q.tenant.ID); err != nil {
		return q, err
	}
	groups := access.SetOfGroups(q.groups)
	for i := range q.rules {
		if err := ctx.Err(); err != nil {
			return q, err
		}
		q.misses = append(q.misses, q.rights.Misses(&q.rules[i].Rule, q.name, groups))
	}
	return q, nil
}

// testedPrincipal is the principal of a test, and why no request of it is served. Only those who read
// everything test others.
func (s *Service) testedPrincipal(ctx context.Context, q accessTest, name string) (access.Principal, string, error) {
	none := access.Principal{}
	c := callerOf(ctx)
	if name == "" {
		name = c.principal.Name
	}
	if !q.view.all && name != c.principal.Name {
		return none, "", fault.New(fault.Denied, fault.DeniedReason, "account %q has role %s, and may test only itself", c.account(), c.principal.Role)
	}
	blocked := ""
	if q.tenant.State == tenant.Suspended {
		blocked = "the tenant is suspended"
	}
	if name == access.AnonymousPrincipal {
		return none, blocked, nil
	}
	kind, slug, ok := access.AccountOf(name)
	if !ok {
		return none, "", invalid("principal", "%q is not one of users/{user}, serviceAccounts/{service_account}, %s", clipped(name), access.AnonymousPrincipal)
	}
	a, err := s.store.FindAccount(ctx, q.tenant.ID, kind, slug)
	if err != nil {
		return none, "", err
	}
	if a.Disabled {
		blocked = "the account is disabled"
	}
	return a.Principal(), blocked, nil
}

// testedRegistry is the registry that the request names, or that its host leads to.
func (s *Service) testedRegistry(ctx context.Context, q accessTest, req *pb.TestAccessRequest) (meta.Registry, error) {
	slug, host := req.GetRegistry(), req.GetHost()
	if (slug == "") == (host == "") {
		return meta.Registry{}, invalid("registry", "give either the ID of a registry or, in host, a host that leads to it")
	}
	find := q.view.registries(s).findRow
	if host == "" {
		if err := checkSlug("registry", slug); err != nil {
			return meta.Registry{}, err
		}
		return find(ctx, q.tenant.ID, slug)
	}
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "host %q does not lead to a registry of this tenant", clipped(host))
	if !q.view.all {
		unknown = errHiddenRegistry()
	}
	name, err := tenant.NormalizeHost(host)
	if err != nil {
		return meta.Registry{}, unknown
	}
	domains, err := s.verifiedDomains(ctx, q.tenant)
	if err != nil {
		return meta.Registry{}, err
	}
	if i := slices.IndexFunc(domains, func(d meta.Domain) bool { return d.Host == name }); i >= 0 {
		slug = domains[i].Registry
	} else if owner, registry, ok := s.pattern.Parse(name); ok && owner == q.tenant.Slug {
		slug = registry
	} else {
		return meta.Registry{}, unknown
	}
	r, err := find(ctx, q.tenant.ID, slug)
	if fault.Is(err, fault.ResourceUnknown) || err == nil && !slices.Contains(s.registryMessage(q.tenant, r, domains).GetHosts(), name) {
		return meta.Registry{}, unknown
	}
	return r, err
}

// allAccessRules are those of a tenant, also disabled ones and those that have ended.
func (s *Service) allAccessRules(ctx context.Context, t tenant.ID) ([]meta.AccessRule, error) {
	var all []meta.AccessRule
	for page := (meta.Page{Size: largestPage}); ; {
		some, err := s.store.ListAccessRules(ctx, t, page)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < page.Size {
			return all, nil
		}
		page.After = some[len(some)-1].Slug
	}
}

// ofUpstream reports whether the name of the repository leads to an upstream, past the registry.
func (q accessTest) ofUpstream() bool { return strings.HasPrefix(q.name, upstreamPrefix) }

// namedUpstream is the host of that upstream, and the name that the repository has there.
func (q accessTest) namedUpstream() (string, string) {
	host, name, _ := strings.Cut(strings.TrimPrefix(q.name, upstreamPrefix), "/")
	return host, name
}
