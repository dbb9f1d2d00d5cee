package access

import (
	"net/netip"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Rights are what one caller may do at a site while one request runs. They follow from the
// site's settings, the caller's role and the access rules, and not from what exists, so
// that private and missing cannot be distinguished (contract section 1).
type Rights struct {
	Principal Principal

	site      *tenant.Site
	policy    *Policy
	groups    Groups
	own       indexes // of the rules about the principal
	everybody *index  // of the rules about callers without a credential; nil without rules
	from      netip.Addr
	now       time.Time
	matched   matches // if not nil, decisions add what matched (Explain)
}

// member reports whether the caller is a principal of the site's tenant.
func (r *Rights) member() bool {
	return !r.Principal.Anonymous() && r.Principal.Tenant == r.site.Tenant
}

// Allowed returns the caller's actions on a repository. What callers without a credential
// are given is given to all, and what is taken from them only to them: they could drop
// their credential.
func (r *Rights) Allowed(repository string) Actions {
	everybody := r.everybody.of(repository, r)
	if !r.member() {
		return r.limit((r.anonymous() | everybody.given) &^ everybody.taken)
	}
	own := r.own.of(repository, r)
	return r.limit((r.anonymous() | everybody.given | r.Principal.Role.Actions() | own.given) &^ own.taken)
}

// In returns the caller's actions on a repository of another registry of the tenant, which
// has these settings: what Allowed says to a request for that registry's host.
func (r *Rights) In(registry string, settings tenant.Settings, repository string) Actions {
	there := r.At(registry, settings)
	return there.Allowed(repository)
}

// At returns the caller's rights in another registry of the tenant, which has these settings.
func (r *Rights) At(registry string, settings tenant.Settings) Rights {
	site := *r.site
	site.RegistrySlug, site.Settings = registry, settings
	return r.policy.rights(&site, r.Principal, r.groups, r.from)
}

// About returns rights by which the same is decided about one repository, and nothing about
// others: by the rules that match it, each with its first pattern that does. So explaining
// them in many registries costs what the rules do, however many patterns they have.
func (r *Rights) About(repository string) Rights {
	var rules []Rule
	for _, rule := range r.policy.rules {
		if text, ok := rule.matching(repository); ok {
			rule.Repositories = []string{text}
			rules = append(rules, rule)
		}
	}
	return NewPolicy(r.policy.version, rules).rights(r.site, r.Principal, r.groups, r.from)
}

// Somewhere returns all actions that the caller may have on some repository of the registry.
// A rule may still take them from each repository that exists.
func (r *Rights) Somewhere() Actions {
	a := r.anonymous() | r.everybody.somewhere(r.from, r.now)
	if r.member() {
		a |= r.Principal.Role.Actions() | r.own.somewhere(r.from, r.now)
	}
	return r.limit(a)
}

// On returns the caller's actions on the resource of a scope. The list of repositories may
// be read by callers who may pull one: it shows those.
func (r *Rights) On(resource Scope) Actions {
	switch resource.Type {
	case RepositoryType:
		return r.Allowed(resource.Name)
	case RegistryType:
		return r.Somewhere() & Pull
	default:
		return 0
	}
}

// What the settings anonymous_pull and anonymous_push of a registry give all callers.
const (
	givenByAnonymousPull = Pull | Fill
	givenByAnonymousPush = Pull | Fill | Push
)

// anonymous returns what the settings of the registry give all callers.
func (r *Rights) anonymous() Actions {
	var a Actions
	if r.site.Settings.AnonymousPull {
		a |= givenByAnonymousPull
	}
	if r.site.Settings.AnonymousPush {
		a |= givenByAnonymousPush
	}
	return a
}

// leftByReadOnly is what a registry with read_only still lets callers do.
const leftByReadOnly = Pull | Fill | Manage | Purge

// limit leaves what the settings of the registry let anybody do.
func (r *Rights) limit(a Actions) Actions {
	if r.site.Settings.ReadOnly {
		a &= leftByReadOnly
	}
	if !a.Has(Pull) {
		a &^= Fill
	}
	return a
}
