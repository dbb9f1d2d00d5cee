package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// The two statements that find a site. Tenants and registries that are being
// deleted are not found.
const (
	findSiteBySlugs = `
SELECT t.id, t.slug, t.epoch, t.access_version, t.state = 'suspended', t.no_passwords, r.id, r.slug, r.settings
FROM tenants t JOIN registries r ON r.tenant_id = t.id
WHERE t.slug = $1 AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.slug = $2 AND r.state = 'active' AND r.upstream_id IS NULL`

	siteOfDomain = `
SELECT t.id, t.slug, t.epoch, t.access_version, t.state = 'suspended', t.no_passwords, r.id, r.slug, r.settings
FROM domains d JOIN tenants t ON t.id = d.tenant_id JOIN registries r ON r.tenant_id = d.tenant_id AND r.id = d.registry_id
WHERE d.host = $1 AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.state = 'active'`

	findSiteByDomainPostgres = siteOfDomain + ` AND d.verified`
	findSiteByDomainSQLite   = siteOfDomain + ` AND d.verified = 1`
)

// FindSite implements tenant.Finder.
func (s *Records) FindSite(ctx context.Context, l tenant.Lookup) (tenant.Site, error) {
	query, args := s.engine.Pick(findSiteByDomainSQLite, findSiteByDomainPostgres), []any{l.Host}
	if l.TenantSlug != "" {
		query, args = findSiteBySlugs, []any{l.TenantSlug, l.Registry}
	}
	unknown := fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")
	return find(ctx, s, noTenant, unknown, func(scan Scan) (tenant.Site, error) {
		site := tenant.Site{Host: l.Host}
		err := scan(&site.Tenant, &site.TenantSlug, &site.Epoch, &site.AccessVersion, &site.Suspended, &site.NoPasswords,
			&site.Registry, &site.RegistrySlug, jsonScanner{&site.Settings})
		return site, err
	}, query, args...)
}
