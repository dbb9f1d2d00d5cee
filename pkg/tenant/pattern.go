package tenant

import (
	"fmt"
	"strings"
)

// The two shapes of a registry's host name. DashPattern fits a wildcard
// certificate of one level.
const (
	DotPattern  = "{registry}.{tenant}.{base}"
	DashPattern = "{registry}--{tenant}.{base}"
)

// Pattern says how tenants and registries become host names under the base
// domain of a deployment. The main registry of a tenant is always at
// {tenant}.{base}, and only there: a host leads to one registry and a registry
// has one host of the pattern.
type Pattern struct {
	separator string // between registry and tenant
	suffix    string // "." and the base domain
}

// NewPattern makes the pattern of a deployment from one of DotPattern and
// DashPattern and its base domain, without port.
func NewPattern(pattern, base string) (Pattern, error) {
	p := Pattern{suffix: "." + base}
	switch pattern {
	case DotPattern:
		p.separator = "."
	case DashPattern:
		p.separator = "--"
	default:
		return Pattern{}, fmt.Errorf("host pattern %q is neither %s nor %s", pattern, DotPattern, DashPattern)
	}
	if h, err := NormalizeHost(base); err != nil || h != base {
		return Pattern{}, fmt.Errorf("base domain %q is not a lower-case host name without port", base)
	}
	return p, nil
}

// Parse takes a normalised host apart into the slugs of tenant and registry;
// false when it is not of the pattern. It does not say that they exist.
func (p Pattern) Parse(host string) (string, string, bool) {
	name, ok := strings.CutSuffix(host, p.suffix)
	if !ok {
		return "", "", false
	}
	if isSlug(name) {
		return name, MainRegistry, true
	}
	registry, tenant, ok := strings.Cut(name, p.separator)
	if !ok || !isSlug(registry) || !isSlug(tenant) || registry == MainRegistry {
		return "", "", false
	}
	return tenant, registry, true
}

// Host is where the registry of the tenant answers, normalised.
func (p Pattern) Host(tenant, registry string) string {
	if registry == MainRegistry {
		return tenant + p.suffix
	}
	return registry + p.separator + tenant + p.suffix
}

// Contains says whether a normalised host is the base domain or lies under it,
// where only the pattern gives names: no tenant can claim one as its domain.
func (p Pattern) Contains(host string) bool {
	return host == p.suffix[1:] || strings.HasSuffix(host, p.suffix)
}
