package admin

import (
	"fmt"
	"strings"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// seedReference is a value of a seed file that names another resource of its tenant.
// lacks is the field that is missing where a new resource needs it: then the resource
// itself must be there already.
type seedReference struct{ path, kind, id, lacks string }

// What a seedReference may name.
const (
	kindRegistry       = "registry"
	kindUpstream       = "upstream"
	kindGroup          = "upstream group"
	kindAccount        = "service account"
	kindPrincipalGroup = "group"
	kindUser           = "user"
	kindRule           = "access rule"
	kindProvider       = "identity provider"
)

// elsewhere are the references to what the file does not have: the tenant may have
// it already.
func (t seedTenant) elsewhere() []seedReference {
	here := map[[2]string]bool{{kindRegistry, tenant.MainRegistry}: true}
	for _, r := range t.Registries {
		here[[2]string{kindRegistry, r.ID}] = true
	}
	for _, u := range t.Upstreams {
		here[[2]string{kindUpstream, u.ID}] = true
	}
	for _, g := range t.UpstreamGroups {
		here[[2]string{kindGroup, g.ID}] = true
	}
	for _, g := range t.Groups {
		here[[2]string{kindPrincipalGroup, g.ID}] = true
	}
	for _, p := range t.Providers {
		here[[2]string{kindProvider, p.ID}] = true
	}
	for _, a := range t.ServiceAccounts {
		here[[2]string{kindAccount, a.ID}] = true
	}
	for _, u := range t.Users {
		here[[2]string{kindUser, u.ID}] = true
	}
	var out []seedReference
	for _, r := range t.references() {
		if r.id != "" && (r.lacks != "" || !here[[2]string{r.kind, r.id}]) {
			out = append(out, r)
		}
	}
	return out
}

// references are all of them; a resource that cannot be read has none.
func (t seedTenant) references() []seedReference {
	var out []seedReference
	add := func(kind, id, path string, indices ...any) {
		out = append(out, seedReference{path: fmt.Sprintf(path, indices...), kind: kind, id: id})
	}
	for i, r := range t.Registries {
		m, _, _ := decoded[*pb.Registry](r.Fields)
		add(kindGroup, m.GetUpstreamGroup(), "registries[%d].upstream_group", i)
		for j, id := range m.GetMirrorUpstreams() {
			add(kindUpstream, id, "registries[%d].mirror_upstreams[%d]", i, j)
		}
	}
	for i, g := range t.UpstreamGroups {
		m, _, _ := decoded[*pb.UpstreamGroup](g.Fields)
		for j, member := range m.GetMembers() {
			add(kindRegistry, member.GetRegistry(), "upstream_groups[%d].members[%d].registry", i, j)
			add(kindUpstream, member.GetUpstream(), "upstream_groups[%d].members[%d].upstream", i, j)
		}
	}
	for i, d := range t.Domains {
		m, _, _ := decoded[*pb.Domain](d.Fields)
		add(kindRegistry, m.GetRegistry(), "domains[%d].registry", i)
	}
	for i, u := range t.Upstreams {
		if !u.Fields.has("url") {
			out = append(out, seedReference{fmt.Sprintf("upstreams[%d].url", i), kindUpstream, u.ID, "url"})
		}
	}
	for i, a := range t.ServiceAccounts {
		if !a.Fields.has("role") {
			out = append(out, seedReference{fmt.Sprintf("service_accounts[%d].role", i), kindAccount, a.ID, "role"})
		}
	}
	for i, u := range t.Users {
		if !u.Fields.has("role") {
			out = append(out, seedReference{fmt.Sprintf("users[%d].role", i), kindUser, u.ID, "role"})
		}
	}
	for i, g := range t.Groups {
		m, _, _ := decoded[*pb.Group](g.Fields)
		for j, name := range m.GetMembers() {
			if kind, slug, ok := access.AccountOf(name); ok {
				out = append(out, seedReference{path: fmt.Sprintf("groups[%d].members[%d]", i, j), kind: kind.Noun(), id: slug})
			}
		}
		for j, of := range m.GetIdentityGroups() {
			if slug, own := strings.CutPrefix(of.GetProvider(), "tenants/"+t.ID+"/"+providersCollection+"/"); own {
				add(kindProvider, slug, "groups[%d].identity_groups[%d].provider", i, j)
			}
		}
	}
	for i, r := range t.AccessRules {
		out = append(out, ruleReferences(i, r)...)
	}
	for i, r := range t.TagRules {
		m, _, _ := decoded[*pb.TagRule](r.Fields)
		add(kindRegistry, m.GetRegistry(), "tag_rules[%d].registry", i)
	}
	for i, w := range t.Webhooks {
		m, _, _ := decoded[*pb.Webhook](w.Fields)
		add(kindRegistry, m.GetRegistry(), "webhooks[%d].registry", i)
	}
	for i, r := range t.PullRules {
		m, _, _ := decoded[*pb.PullRule](r.Fields)
		add(kindRegistry, m.GetRegistry(), "pull_rules[%d].registry", i)
	}
	for i, r := range t.PromotionGates {
		m, _, _ := decoded[*pb.PromotionGate](r.Fields)
		add(kindRegistry, m.GetRegistry(), "promotion_gates[%d].registry", i)
	}
	for i, r := range t.Retention {
		m, _, _ := decoded[*pb.RetentionPolicy](r.Fields)
		add(kindRegistry, m.GetRegistry(), "retention_policies[%d].registry", i)
	}
	return out
}

// ruleReferences are those of the access rule at i.
func ruleReferences(i int, r seedResource) []seedReference {
	var out []seedReference
	m, _, _ := decoded[*pb.AccessRule](r.Fields)
	for j, name := range m.GetPrincipals() {
		if slug, ok := access.GroupOf(name); ok {
			out = append(out, seedReference{path: fmt.Sprintf("access_rules[%d].principals[%d]", i, j), kind: kindPrincipalGroup, id: slug})
		}
		if kind, slug, ok := access.AccountOf(name); ok {
			out = append(out, seedReference{path: fmt.Sprintf("access_rules[%d].principals[%d]", i, j), kind: kind.Noun(), id: slug})
		}
	}
	for j, slug := range m.GetRegistries() {
		if !access.IsPattern(slug) {
			out = append(out, seedReference{path: fmt.Sprintf("access_rules[%d].registries[%d]", i, j), kind: kindRegistry, id: slug})
		}
	}
	for _, field := range neededByRule {
		if !r.Fields.has(field) {
			out = append(out, seedReference{fmt.Sprintf("access_rules[%d].%s", i, field), kindRule, r.ID, field})
		}
	}
	return out
}
