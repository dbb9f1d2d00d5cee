package tenant

import (
	"fmt"
	"strings"
)

// The two patterns of a registry's host name. DashPattern works with a wildcard
// certificate of one level.
const (
	DotPattern  = "{registry}.{tenant}.{base}"
	DashPattern = "{registry}--{tenant}.{base}"
)

// Pattern maps tenants and registries to host names under the base domain of a
// deployment. The main registry of a tenant is only at {tenant}.{base}: a host has
// one registry, and a registry one host of the pattern.
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

// Parse splits a normalised host into the slugs of tenant and registry, which may
// not exist; false if the host does not match the pattern.
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

// Host is the normalised host of the tenant's registry.
func (p Pattern) Host(tenant, registry string) string {
	if registry == MainRegistry {
		return tenant + p.suffix
	}
	return registry + p.separator + tenant + p.suffix
}

// MirrorHost is the host of a mirror host with this label: one level below the base domain,
// so that one wildcard certificate is for all of them, and no certificate has the name.
func (p Pattern) MirrorHost(label string) string { return label + p.suffix }

// mirrorLabel is the label of a normalised host that may be a mirror host; false for others.
func (p Pattern) mirrorLabel(host string) (string, bool) {
	label, ok := strings.CutSuffix(host, p.suffix)
	return label, ok && isMirrorLabel(label)
}

// Contains reports whether a normalised host is the base domain or below it. Only
// the pattern assigns names there: no tenant can add one as its domain.
func (p Pattern) Contains(host string) bool {
	return host == p.suffix[1:] || strings.HasSuffix(host, p.suffix)
}
