package sqlmeta

import (
	"fmt"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Registries name groups and upstreams, groups name registries and upstreams, access
// rules name accounts and registries. No foreign key can check these names, which are in
// JSON. The functions below do, in transactions that lock the tenant's row.

const (
	groupOfMemberPostgres = `
SELECT g.slug FROM upstream_groups g
 WHERE g.tenant_id = $1 AND EXISTS (SELECT 1 FROM json_array_elements(g.members) AS member (value) WHERE member.value ->> $2::text = $3) LIMIT 1`
	groupOfMemberSQLite = `
SELECT g.slug FROM upstream_groups g
 WHERE g.tenant_id = $1 AND EXISTS (SELECT 1 FROM json_each(g.members) j WHERE j.value ->> $2 = $3) LIMIT 1`

	registryOfGroup = `
SELECT r.slug FROM registries r
 WHERE r.tenant_id = $1 AND r.state = 'active' AND r.upstream_id IS NULL AND r.settings ->> 'upstream_group' = $2 LIMIT 1`

	registryOfMirroredPostgres = `
SELECT r.slug FROM registries r
 WHERE r.tenant_id = $1 AND r.state = 'active' AND r.upstream_id IS NULL
   AND EXISTS (SELECT 1 FROM json_array_elements_text(r.settings -> 'mirror_upstreams') AS named (slug) WHERE named.slug = $2) LIMIT 1`
	registryOfMirroredSQLite = `
SELECT r.slug FROM registries r
 WHERE r.tenant_id = $1 AND r.state = 'active' AND r.upstream_id IS NULL
   AND EXISTS (SELECT 1 FROM json_each(r.settings, '$.mirror_upstreams') j WHERE j.value = $2) LIMIT 1`

	ruleOfNamePostgres = `
SELECT r.slug FROM access_rules r
 WHERE r.tenant_id = $1 AND EXISTS (SELECT 1 FROM json_array_elements_text(r.body -> $2::text) AS named (name) WHERE named.name = $3)
 ORDER BY r.slug LIMIT 1`
	ruleOfNameSQLite = `
SELECT r.slug FROM access_rules r
 WHERE r.tenant_id = $1 AND EXISTS (SELECT 1 FROM json_each(r.body, '$.' || $2) j WHERE j.value = $3)
 ORDER BY r.slug LIMIT 1`
)

// exists runs a statement that finds the id and version of a record by slug.
func exists(t Tx, query string, id tenant.ID, slug string) (bool, error) {
	var found, version int64
	return t.Find(query, []any{id, slug}, &found, &version)
}

// checkNames refuses registry settings that name an unknown group or upstream.
func checkNames(t Tx, id tenant.ID, settings tenant.Settings) error {
	if group := settings.UpstreamGroup; group != "" {
		if _, err := groupVersion(t, id, group); fault.Is(err, fault.ResourceUnknown) {
			return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream group %q", group).WithField("upstream_group")
		} else if err != nil {
			return err
		}
	}
	for _, slug := range settings.MirrorUpstreams.All() {
		found, err := exists(t, findUpstreamID, id, slug)
		if err != nil {
			return err
		}
		if !found {
			return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no upstream %q", slug).WithField("mirror_upstreams")
		}
	}
	return nil
}

// dropMissingNames removes from the settings the names that checkNames would
// refuse.
func dropMissingNames(t Tx, id tenant.ID, settings *tenant.Settings) error {
	if settings.UpstreamGroup != "" {
		if _, err := groupVersion(t, id, settings.UpstreamGroup); fault.Is(err, fault.ResourceUnknown) {
			settings.UpstreamGroup = ""
		} else if err != nil {
			return err
		}
	}
	var kept []string
	for _, slug := range settings.MirrorUpstreams.All() {
		found, err := exists(t, findUpstreamID, id, slug)
		if err != nil {
			return err
		}
		if found {
			kept = append(kept, slug)
		}
	}
	settings.MirrorUpstreams = tenant.SlugsOf(kept)
	return nil
}

// checkMembers refuses a group with an unknown member.
func checkMembers(t Tx, g meta.Group) error {
	for _, m := range g.Members {
		kind, query, slug := "registry", findRegistryID, m.Registry
		if m.Upstream != "" {
			kind, query, slug = "upstream", findUpstreamID, m.Upstream
		}
		found, err := exists(t, query, g.Tenant, slug)
		if err != nil {
			return err
		}
		if !found {
			return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no %s %q", kind, slug).WithField("members")
		}
	}
	return nil
}

// checkNoGroupNames refuses to delete a registry or an upstream (kind) that a group
// names.
func checkNoGroupNames(t Tx, id tenant.ID, kind, slug string) error {
	var group string
	named, err := t.Find(t.Pick(groupOfMemberSQLite, groupOfMemberPostgres), []any{id, kind, slug}, &group)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "upstream group %q names %s %q; take it out of the members of that group first", group, kind, slug)
	}
	return err
}

// checkNotMirrored refuses to delete an upstream that a registry names.
func checkNotMirrored(t Tx, id tenant.ID, slug string) error {
	var registry string
	named, err := t.Find(t.Pick(registryOfMirroredSQLite, registryOfMirroredPostgres), []any{id, slug}, &registry)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "registry %q names upstream %q in mirror_upstreams; take it out there first", registry, slug)
	}
	return err
}

// checkRuleNames refuses a rule that names an unknown account, group or registry.
func checkRuleNames(t Tx, r meta.AccessRule) error {
	for i, name := range r.Principals {
		if slug, ok := access.GroupOf(name); ok {
			var version int64
			if found, err := t.Find(findPrincipalGroupVersion, []any{r.Tenant, slug}, &version); err != nil {
				return err
			} else if !found {
				return notNamed("group", slug, rulePrincipals, i)
			}
			continue
		}
		kind, slug, ok := access.AccountOf(name)
		if !ok {
			continue
		}
		if found, err := accountExists(t, r.Tenant, kind, slug); err != nil {
			return err
		} else if !found {
			return notNamed(kind.Noun(), slug, rulePrincipals, i)
		}
	}
	for i, name := range r.Registries {
		if access.IsPattern(name) {
			continue
		}
		if found, err := exists(t, findRegistryID, r.Tenant, name); err != nil {
			return err
		} else if !found {
			return notNamed("registry", name, ruleRegistries, i)
		}
	}
	return nil
}

func accountExists(t Tx, id tenant.ID, k access.Kind, slug string) (bool, error) {
	var a accountRow
	return a.find(t, findAccountRow, id, k, slug)
}

func notNamed(kind, slug, list string, i int) error {
	return fault.New(fault.Invalid, fault.ResourceUnknown, "there is no %s %q", kind, slug).WithField(fmt.Sprintf("%s[%d]", list, i))
}

// checkNoRuleNames refuses to delete what a list of an access rule names, also of one
// that is disabled or has ended: it may be enabled again.
func checkNoRuleNames(t Tx, id tenant.ID, list, name string) error {
	var rule string
	named, err := t.Find(t.Pick(ruleOfNameSQLite, ruleOfNamePostgres), []any{id, list, name}, &rule)
	if err == nil && named {
		err = fault.New(fault.Conflict, fault.InUse, "access rule %q names %q in its %s; take it out there or delete the rule first", rule, name, list)
	}
	return err
}
