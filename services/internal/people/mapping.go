package people

import (
	"context"
	"regexp"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Bounds of what one reading of a person does by mappings: how many groups that match are looked
// at, and for how many something is made. The rest is made by later readings.
const (
	maxMatching = 100
	maxMade     = 10
)

// mapper makes what mappings of providers say of groups.
type mapper struct {
	Store

	provider meta.IdentityProvider
	at       tenant.ID // of the person
}

// Expand is a template with the texts that a pattern found in a name; false for a name that does
// not match as a whole.
func Expand(pattern *regexp.Regexp, name string, templates ...string) ([]string, bool) {
	found := pattern.FindStringSubmatch(name)
	if found == nil || found[0] != name {
		return nil, false
	}
	var pairs []string
	for i, placeholder := range pattern.SubexpNames() {
		if placeholder != "" {
			pairs = append(pairs, "{"+placeholder+"}", found[i])
		}
	}
	expanded := make([]string, len(templates))
	for i, template := range templates {
		expanded[i] = strings.NewReplacer(pairs...).Replace(template)
	}
	return expanded, true
}

// MappingPattern compiles the pattern of a mapping, which is of whole names.
func MappingPattern(pattern string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + pattern + ")$")
}

// applyMappings makes what the mappings of the provider say of the groups of a person, each once:
// what an administrator deletes is not made again. What is there and was made by none of them is
// left alone, and so is all that would belong to it: a directory where people make groups
// themselves must not open registries by a name. It does open those that mappings of the provider
// made: all who may make a group with a name that matches get the rights of that mapping on them.
func applyMappings(ctx context.Context, s Store, provider meta.IdentityProvider, at tenant.ID, groups []string) error {
	m := mapper{s, provider, at}
	looked, made := 0, 0
	for _, mapping := range provider.Settings.Mappings {
		if mapping.Tenant != "" && (provider.Tenant != meta.Deployment || len(provider.Tenants) > 0) {
			continue // it makes no tenant that it would not be offered to
		}
		pattern, err := MappingPattern(mapping.Pattern)
		if err != nil {
			return err
		}
		for _, group := range groups {
			names, ok := Expand(pattern, group, mapping.Tenant, mapping.Registry, mapping.Group)
			if !ok {
				continue
			}
			if looked++; looked > maxMatching || made >= maxMade {
				return nil
			}
			done, err := m.once(ctx, mapping, group, names)
			if err != nil {
				return err
			}
			if done {
				made++
			}
		}
	}
	return nil
}

// once applies a mapping to a group, unless that was done before.
func (m mapper) once(ctx context.Context, mapping meta.Mapping, group string, names []string) (bool, error) {
	g := meta.MappedGroup{Provider: m.provider, In: m.at, Mapping: mapping.Hash(), Group: group}
	if mapping.Tenant != "" {
		g.In = meta.Deployment
	}
	if known, err := m.IsMapped(ctx, g); err != nil || known {
		return false, err
	}
	if err := m.make(ctx, mapping, group, names); err != nil {
		kind := fault.KindOf(err)
		if fault.Is(err, fault.LimitReached) || kind != fault.Invalid && kind != fault.Conflict && kind != fault.NotFound {
			return false, err // it is tried again by the next reading
		}
		g.Skipped = fault.From(err).Message
	}
	return true, m.RecordMapped(ctx, causeOf(ctx, m.provider), g)
}

// make makes the tenant and the registry that are missing, and the group with its rule.
func (m mapper) make(ctx context.Context, mapping meta.Mapping, group string, names []string) error {
	slug, registry, local := names[0], names[1], names[2]
	for _, name := range names {
		if name == "" {
			continue // no tenant is named
		}
		if err := tenant.CheckSlug(name); err != nil {
			return err
		}
	}
	t := m.at
	if mapping.Tenant != "" {
		var err error
		if t, err = m.tenant(ctx, slug); err != nil {
			return err
		}
	}
	if err := m.free(ctx, t, local); err != nil {
		return err
	}
	if err := m.registry(ctx, t, registry); err != nil {
		return err
	}
	made := meta.PrincipalGroup{Tenant: t, Slug: local, Identities: []meta.GroupIdentity{{Provider: m.provider.ID, Group: group}}}
	if _, err := m.CreatePrincipalGroup(ctx, causeOf(ctx, m.provider, meta.Change{Field: "identity_groups", New: group}), made); err != nil {
		return err
	}
	repositories := mapping.Repositories
	if len(repositories) == 0 {
		repositories = []string{"**"}
	}
	rule := access.Rule{Slug: local, Principals: []string{access.GroupName(local)}, Registries: []string{registry}, Repositories: repositories, Actions: access.RuleActions(mapping.Actions)}
	_, err := m.CreateAccessRule(ctx, causeOf(ctx, m.provider, meta.Change{Field: "principals", New: access.GroupName(local)}), meta.AccessRule{Rule: rule, Tenant: t})
	return err
}

// tenant finds or makes a tenant that is the mappings'.
func (m mapper) tenant(ctx context.Context, slug string) (tenant.ID, error) {
	t, err := m.FindTenant(ctx, slug)
	if fault.Is(err, fault.ResourceUnknown) {
		t, err = m.CreateTenant(ctx, causeOf(ctx, m.provider, meta.Change{Field: "name", New: "tenants/" + slug}), meta.Tenant{Slug: slug}, tenant.Settings{})
		if err == nil {
			err = m.RecordMade(ctx, m.provider.ID, t.ID, 0)
		}
		return t.ID, err
	}
	if err != nil {
		return 0, err
	}
	return t.ID, m.own(ctx, t.ID, 0, "tenant "+slug)
}

// registry finds or makes a registry that is the mappings'.
func (m mapper) registry(ctx context.Context, t tenant.ID, slug string) error {
	r, err := m.FindRegistry(ctx, t, slug)
	if fault.Is(err, fault.ResourceUnknown) {
		r, err = m.CreateRegistry(ctx, causeOf(ctx, m.provider, meta.Change{Field: "name", New: "registries/" + slug}), meta.Registry{Tenant: t, Slug: slug})
		if err == nil {
			err = m.RecordMade(ctx, m.provider.ID, t, r.ID)
		}
		return err
	}
	if err != nil {
		return err
	}
	return m.own(ctx, t, r.ID, "registry "+slug)
}

// free refuses the ID of a group or a rule that is there.
func (m mapper) free(ctx context.Context, t tenant.ID, slug string) error {
	_, err := m.FindPrincipalGroup(ctx, t, slug)
	what := "group"
	if fault.Is(err, fault.ResourceUnknown) {
		_, err = m.FindAccessRule(ctx, t, slug)
		what = "access rule"
	}
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return nil
	case err == nil:
		return fault.New(fault.Conflict, fault.AlreadyExists, "%s %s exists already", what, slug)
	default:
		return err
	}
}

// own refuses what no mapping of the provider made.
func (m mapper) own(ctx context.Context, t tenant.ID, r tenant.RegistryID, what string) error {
	made, err := m.WasMade(ctx, m.provider.ID, t, r)
	if err == nil && !made {
		err = fault.New(fault.Conflict, fault.AlreadyExists, "%s exists already, and no mapping made it", what)
	}
	return err
}
