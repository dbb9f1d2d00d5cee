package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/meta"
)

// seedTenant is a tenant of a seed file with what it has. A resource that a file may
// have is a field here, and is checked and applied below.
type seedTenant struct {
	ID              string         `yaml:"id"`
	Fields          seedFields     `yaml:",inline"`
	Registries      []seedResource `yaml:"registries"`
	Upstreams       []seedUpstream `yaml:"upstreams"`
	UpstreamGroups  []seedResource `yaml:"upstream_groups"`
	Domains         []seedResource `yaml:"domains"`
	Users           []seedUser     `yaml:"users"`
	ServiceAccounts []seedAccount  `yaml:"service_accounts"`
	Providers       []seedProvider `yaml:"identity_providers"`
	Groups          []seedResource `yaml:"groups"`
	AccessRules     []seedResource `yaml:"access_rules"`
	TagRules        []seedResource `yaml:"tag_rules"`
	PromotionGates  []seedResource `yaml:"promotion_gates"`
	PullRules       []seedResource `yaml:"pull_rules"`
	Webhooks        []seedWebhook  `yaml:"webhooks"`
	Retention       []seedResource `yaml:"retention_policies"`
}

// seedResource is a registry, an upstream group, a domain, an access rule, a tag rule, a promotion
// gate, a pull rule or a retention policy.
type seedResource struct {
	ID     string     `yaml:"id"`
	Fields seedFields `yaml:",inline"`
}

// without is the resource except for one field.
func (r seedResource) without(field string) seedResource {
	r.Fields = maps.Clone(r.Fields)
	delete(r.Fields, field)
	return r
}

func (k *seedChecker) tenant(at string, t seedTenant) {
	k.note(at, checkSeedID(t.ID))
	k.note(at, checked(t.Fields, func(m *pb.Tenant) error { return setTenant(&meta.Tenant{}, m) }))
	k.resources(at+".registries", t.Registries, func(f seedFields) error {
		return checked(f, func(m *pb.Registry) error { _, err := registrySettings(m); return err })
	})
	k.resources(at+".upstream_groups", t.UpstreamGroups, func(f seedFields) error {
		return checked(f, func(m *pb.UpstreamGroup) error { _, err := groupMembers(m); return err })
	})
	k.ids(at+".upstreams", mapped(t.Upstreams, func(u seedUpstream) string { return u.ID }))
	for i, u := range t.Upstreams {
		k.note(fmt.Sprintf("%s.upstreams[%d]", at, i), k.upstream(t.ID, u))
	}
	for i, d := range t.Domains {
		err := checked(d.Fields, func(*pb.Domain) error { _, err := k.service.checkHost(d.ID, true); return err })
		k.note(fmt.Sprintf("%s.domains[%d]", at, i), err)
	}
	k.ids(at+".service_accounts", mapped(t.ServiceAccounts, func(a seedAccount) string { return a.ID }))
	for i, a := range t.ServiceAccounts {
		k.account(fmt.Sprintf("%s.service_accounts[%d]", at, i), t.ID, a)
	}
	k.ids(at+".users", mapped(t.Users, func(u seedUser) string { return u.ID }))
	for i, u := range t.Users {
		if u.ID != "" && slices.ContainsFunc(t.ServiceAccounts, func(a seedAccount) bool { return a.ID == u.ID }) {
			k.note(fmt.Sprintf("%s.users[%d]", at, i), invalid("id", "%q is a service account, too; they log in by the same name", clipped(u.ID)))
		}
		k.note(fmt.Sprintf("%s.users[%d]", at, i), k.user(u))
	}
	k.providers(at+".identity_providers", t.ID, t.Providers)
	k.resources(at+".groups", t.Groups, func(f seedFields) error { return checked(f, checkGroup) })
	k.resources(at+".access_rules", t.AccessRules, checkSeedRule)
	k.resources(at+".tag_rules", t.TagRules, checkSeedTagRule)
	k.resources(at+".promotion_gates", t.PromotionGates, checkSeedPromotionGate)
	k.resources(at+".pull_rules", t.PullRules, checkSeedPullRule)
	k.webhooks(at+".webhooks", t.ID, t.Webhooks)
	k.resources(at+".retention_policies", t.Retention, checkSeedRetention)
}

func (k *seedChecker) resources(path string, all []seedResource, check func(seedFields) error) {
	k.ids(path, mapped(all, func(r seedResource) string { return r.ID }))
	for i, r := range all {
		k.note(fmt.Sprintf("%s[%d]", path, i), check(r.Fields))
	}
}

func (s *Service) applyTenant(ctx context.Context, t seedTenant, dir string) error {
	if err := s.applyTenantAlone(ctx, t); err != nil {
		return err
	}
	name := "tenants/" + t.ID
	if err := s.applyChains(ctx, name, t, dir); err != nil {
		return err
	}
	if err := each("domains", t.Domains, func(d seedResource) error { return s.applyDomain(ctx, name, d) }); err != nil {
		return err
	}
	if err := each("service_accounts", t.ServiceAccounts, func(a seedAccount) error { return s.applyAccount(ctx, name, a, dir) }); err != nil {
		return err
	}
	if err := each("users", t.Users, func(u seedUser) error { return s.applyUser(ctx, name, u, dir) }); err != nil {
		return err
	}
	if err := each("identity_providers", t.Providers, func(p seedProvider) error { return s.applyProvider(ctx, name+"/", p, dir) }); err != nil {
		return err
	}
	if err := each("groups", t.Groups, func(g seedResource) error { return s.applyGroup(ctx, name, g) }); err != nil {
		return err
	}
	if err := each("access_rules", t.AccessRules, func(r seedResource) error { return s.applyAccessRule(ctx, name, r) }); err != nil {
		return err
	}
	if err := each("tag_rules", t.TagRules, func(r seedResource) error { return s.applyTagRule(ctx, name, r) }); err != nil {
		return err
	}
	if err := each("webhooks", t.Webhooks, func(w seedWebhook) error { return s.applyWebhook(ctx, name, w, dir) }); err != nil {
		return err
	}
	if err := each("pull_rules", t.PullRules, func(r seedResource) error { return s.applyPullRule(ctx, name, r) }); err != nil {
		return err
	}
	if err := each("promotion_gates", t.PromotionGates, func(r seedResource) error { return s.applyPromotionGate(ctx, name, r) }); err != nil {
		return err
	}
	return each("retention_policies", t.Retention, func(r seedResource) error { return s.applyRetentionPolicy(ctx, name, r) })
}

// applyTenantAlone applies a tenant without what it has.
func (s *Service) applyTenantAlone(ctx context.Context, t seedTenant) error {
	m, mask, err := decoded[*pb.Tenant](t.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, "tenants/", t.ID, m, mask, s.reviveTenant)
}

// applyChains applies what names each other: registries without their groups,
// what the groups are made of, and then all of the registries. A registry that
// shall have no group any more loses it first: a group may name it now.
func (s *Service) applyChains(ctx context.Context, name string, t seedTenant, dir string) error {
	if err := each("registries", t.Registries, func(r seedResource) error {
		if r.Fields["upstream_group"] != "" {
			r = r.without("upstream_group")
		}
		return s.applyRegistry(ctx, name, r.without("mirror_upstreams"))
	}); err != nil {
		return err
	}
	if err := each("upstreams", t.Upstreams, func(u seedUpstream) error {
		m, mask, err := u.read(dir)
		if err != nil {
			return err
		}
		return apply(ctx, name+"/upstreams/", u.ID, m, mask, s.updateUpstream)
	}); err != nil {
		return err
	}
	if err := each("upstream_groups", t.UpstreamGroups, func(g seedResource) error {
		m, mask, err := decoded[*pb.UpstreamGroup](g.Fields)
		if err != nil {
			return err
		}
		return apply(ctx, name+"/upstreamGroups/", g.ID, m, mask, s.groups().update)
	}); err != nil {
		return err
	}
	return each("registries", t.Registries, func(r seedResource) error { return s.applyRegistry(ctx, name, r) })
}

func (s *Service) applyRegistry(ctx context.Context, parent string, r seedResource) error {
	m, mask, err := decoded[*pb.Registry](r.Fields)
	if err != nil {
		return err
	}
	return apply(ctx, parent+"/registries/", r.ID, m, mask, s.reviveRegistry)
}
