package admin

import (
	"context"
	"net/netip"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// view is what a caller sees of the registries of a tenant. What it does not see and what
// does not exist get the same answer.
type view struct {
	all       bool // whatever the access rules are
	principal access.Principal
	policy    *access.Policy
	groups    []string // of the principal
	from      netip.Addr
}

// viewOf decides by the access rules as they are now. name is of a resource of the tenant.
// Operators, admins and auditors of the tenant see everything.
func (s *Service) viewOf(ctx context.Context, name string) (view, error) {
	c := callerOf(ctx)
	if c.operator || c.has(needs[pb.Access_TENANT_READ].roles) {
		return view{all: true}, nil
	}
	return s.viewByRules(ctx, name)
}

// viewByRules is what the caller's role and the access rules show.
func (s *Service) viewByRules(ctx context.Context, name string) (view, error) {
	slug, _, _ := strings.Cut(strings.TrimPrefix(name, "tenants/"), "/")
	t, err := s.tenantBySlug(ctx, slug)
	if err != nil {
		return view{}, err
	}
	p, err := s.store.AccessPolicy(ctx, t.ID)
	if err != nil {
		return view{}, err
	}
	who := callerOf(ctx).principal
	groups, err := s.groupsOf(ctx, t.ID, who)
	return view{principal: who, policy: access.NewPolicy(p.Version, p.Rules), groups: groups, from: client(ctx)}, err
}

// groupsOf are the groups of a principal, as they are now.
func (s *Service) groupsOf(ctx context.Context, t tenant.ID, who access.Principal) ([]string, error) {
	if who.Anonymous() || who.Tenant != t {
		return nil, nil
	}
	groups, _, err := s.store.GroupsOf(ctx, t, who.Name)
	return groups, err
}

// in returns the caller's rights in a registry.
func (v view) in(r meta.Registry) access.Rights {
	return v.policy.Rights(&tenant.Site{Tenant: v.principal.Tenant, RegistrySlug: r.Slug, Settings: r.Settings}, v.principal, v.from, v.groups...)
}

// manages decides by access rules alone, from the registry's slug; an empty repository means
// the registry as a whole.
func (v view) manages(registry, repository string) bool {
	rights := v.in(meta.Registry{Slug: registry})
	if repository == "" {
		return rights.Manages()
	}
	return rights.ManagesRepository(repository)
}

// may reports whether the caller has actions that no setting of a registry gives, from
// names alone.
func (v view) may(a access.Actions, registry, repository string) bool {
	rights := v.in(meta.Registry{Slug: registry})
	return repository != "" && rights.Allowed(repository).Has(a)
}

// visible are the actions of which each shows a repository to a caller.
const visible = access.Pull | access.Manage

// registry reports whether the caller sees a registry: it may see a repository there.
func (v view) registry(r meta.Registry) bool {
	rights := v.in(r)
	return rights.Somewhere()&visible != 0
}

// registries is the collection of those that the view shows. Deleted ones are among them
// only for those who see everything.
func (v view) registries(s *Service) collection[meta.Registry, *pb.Registry] {
	c := s.registries()
	if v.all {
		return c
	}
	c.findAny, c.listAll = nil, nil
	c.findRow = func(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
		r, err := s.store.FindRegistry(ctx, t, slug)
		if err == nil && v.registry(r) {
			return r, nil
		}
		if err == nil || fault.Is(err, fault.ResourceUnknown) {
			err = errHiddenRegistry()
		}
		return meta.Registry{}, err
	}
	c.listRows = func(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
		return v.listRegistries(ctx, s.store, t, p)
	}
	c.show = func(ctx context.Context, t meta.Tenant) (func(meta.Registry) *pb.Registry, error) {
		show, err := s.showRegistries(ctx, t)
		return func(r meta.Registry) *pb.Registry { return v.trimmed(r, show(r)) }, err
	}
	return c
}

// errHiddenRegistry is the answer for a registry that is missing or that the caller does not see.
func errHiddenRegistry() *fault.Error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "registry not found, or you do not have pull access")
}

// listRegistries is a page of those that the caller sees. A tenant has few registries.
func (v view) listRegistries(ctx context.Context, s meta.Registries, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	var seen []meta.Registry
	for batch := (meta.Page{After: p.After, Size: largestPage}); ; {
		rows, err := s.ListRegistries(ctx, t, batch)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if len(seen) < p.Size && v.registry(r) {
				seen = append(seen, r)
			}
		}
		if len(seen) == p.Size || len(rows) < batch.Size {
			return seen, nil
		}
		batch.After = rows[len(rows)-1].Slug
	}
}

// trimmed leaves out what the tenant's registry takes from elsewhere, unless the caller
// manages the registry.
func (v view) trimmed(r meta.Registry, m *pb.Registry) *pb.Registry {
	if !v.manages(r.Slug, "") {
		m.UpstreamGroup, m.MirrorUpstreams = "", nil
	}
	return m
}
