package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// The two ways to a site. A tenant or registry that is being deleted answers
// nowhere.
const (
	findSiteBySlugs = `
SELECT t.id, t.slug, t.epoch, t.state = 'suspended', r.id, r.slug, r.settings
FROM tenants t JOIN registries r ON r.tenant_id = t.id
WHERE t.slug = $1 AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.slug = $2 AND r.state = 'active' AND r.upstream_id IS NULL`

	findSiteByDomain = `
SELECT t.id, t.slug, t.epoch, t.state = 'suspended', r.id, r.slug, r.settings
FROM domains d JOIN tenants t ON t.id = d.tenant_id JOIN registries r ON r.tenant_id = d.tenant_id AND r.id = d.registry_id
WHERE d.host = $1 AND d.verified AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.state = 'active'`
)

// FindSite implements tenant.Finder.
func (s *Store) FindSite(ctx context.Context, l tenant.Lookup) (tenant.Site, error) {
	query, args := findSiteByDomain, []any{l.Host}
	if l.TenantSlug != "" {
		query, args = findSiteBySlugs, []any{l.TenantSlug, l.Registry}
	}
	site := tenant.Site{Host: l.Host}
	found, err := s.find(ctx, nobody, query, args,
		&site.Tenant, &site.TenantSlug, &site.Epoch, &site.Suspended, &site.Registry, &site.RegistrySlug, &site.Settings)
	switch {
	case err != nil:
		return tenant.Site{}, err
	case !found:
		return tenant.Site{}, fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")
	default:
		return site, nil
	}
}
