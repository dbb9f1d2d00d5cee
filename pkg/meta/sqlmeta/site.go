package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// The statements that find a site. Tenants and registries that are being
// deleted are not found.
const (
	findSiteBySlugs = `
SELECT t.id, t.slug, t.epoch, t.access_version, t.pull_rules_version, t.state = 'suspended', t.no_passwords, t.rate_limits, r.id, r.slug, r.settings
FROM tenants t JOIN registries r ON r.tenant_id = t.id
WHERE t.slug = $1 AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.slug = $2 AND r.state = 'active' AND r.upstream_id IS NULL`

	siteOfDomain = `
SELECT t.id, t.slug, t.epoch, t.access_version, t.pull_rules_version, t.state = 'suspended', t.no_passwords, t.rate_limits, r.id, r.slug, r.settings
FROM domains d JOIN tenants t ON t.id = d.tenant_id JOIN registries r ON r.tenant_id = d.tenant_id AND r.id = d.registry_id
WHERE d.host = $1 AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.state = 'active'`

	findSiteByMirror = `
SELECT t.id, t.slug, t.epoch, t.access_version, t.pull_rules_version, t.state = 'suspended', t.no_passwords, t.rate_limits, r.id, r.slug, r.settings,
       h.slug, h.upstream, h.upstream_group, h.cached_only, h.networks, n.expires_at
FROM mirror_names n JOIN mirror_hosts h ON h.tenant_id = n.tenant_id AND h.slug = n.slug
JOIN tenants t ON t.id = h.tenant_id JOIN registries r ON r.tenant_id = h.tenant_id AND r.slug = h.registry
WHERE n.hash = $1 AND n.expires_at > berth_now()
  AND t.state <> 'deleted' AND t.state <> 'deleting' AND r.state = 'active' AND r.upstream_id IS NULL`

	findSiteByDomainPostgres = siteOfDomain + ` AND d.verified`
	findSiteByDomainSQLite   = siteOfDomain + ` AND d.verified = 1`
)

var errNoSite = fault.New(fault.NotFound, fault.HostUnknown, "no registry answers at this host")

// FindSite implements tenant.Finder.
func (s *Records) FindSite(ctx context.Context, l tenant.Lookup) (tenant.Site, error) {
	if l.Mirror != ([32]byte{}) {
		return s.findMirrorSite(ctx, l)
	}
	query, args := s.engine.Pick(findSiteByDomainSQLite, findSiteByDomainPostgres), []any{l.Host}
	if l.TenantSlug != "" {
		query, args = findSiteBySlugs, []any{l.TenantSlug, l.Registry}
	}
	return find(ctx, s, noTenant, errNoSite, func(scan Scan) (tenant.Site, error) {
		site := tenant.Site{Host: l.Host}
		err := scan(&site.Tenant, &site.TenantSlug, &site.Epoch, &site.AccessVersion, &site.PullRules, &site.Suspended, &site.NoPasswords, jsonScanner{&site.RateLimits},
			&site.Registry, &site.RegistrySlug, jsonScanner{&site.Settings})
		return site, err
	}, query, args...)
}

// findMirrorSite finds the site of a mirror host. What the settings of its registry give to
// callers does not count there: only how blobs are sent is that of the registry.
func (s *Records) findMirrorSite(ctx context.Context, l tenant.Lookup) (tenant.Site, error) {
	return find(ctx, s, noTenant, errNoSite, func(scan Scan) (tenant.Site, error) {
		site := tenant.Site{Host: l.Host}
		var settings tenant.Settings
		m := &site.Mirror
		err := scan(&site.Tenant, &site.TenantSlug, &site.Epoch, &site.AccessVersion, &site.PullRules, &site.Suspended, &site.NoPasswords, jsonScanner{&site.RateLimits},
			&site.Registry, &site.RegistrySlug, jsonScanner{&settings},
			&m.Slug, &m.Upstream, &m.Group, &m.CachedOnly, &m.Networks, timeScanner{&m.Until})
		site.Settings.RedirectBlobs = settings.RedirectBlobs
		return site, err
	}, findSiteByMirror, l.Mirror[:])
}
