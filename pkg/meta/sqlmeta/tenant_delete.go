package sqlmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	deleteTenant = `
UPDATE tenants SET state = 'deleting', was_suspended = (state = 'suspended'), epoch = epoch + 1, version = version + 1,
       updated_at = berth_now(), deleted_at = berth_now(), expire_at = berth_now() + CAST($2 AS interval)
 WHERE id = $1`

	// Others can verify a host that no longer routes.
	closeTenantDomains = `
UPDATE domains SET verified = false, was_verified = true, version = version + 1 WHERE tenant_id = $1 AND verified`

	forgetTenantExpiry = `UPDATE tenants SET expire_at = NULL WHERE id = $1`

	deleteTenantDomains         = `DELETE FROM domains WHERE tenant_id = $1`
	deleteTenantRules           = `DELETE FROM access_rules WHERE tenant_id = $1`
	deleteTenantGates           = `DELETE FROM promotion_gates WHERE tenant_id = $1`
	deleteTenantPullRules       = `DELETE FROM pull_rules WHERE tenant_id = $1`
	deleteTenantWebhooks        = `DELETE FROM webhooks WHERE tenant_id = $1` // TrimDeliveries takes what waits for them
	deleteTenantTagRules        = `DELETE FROM tag_rules WHERE tenant_id = $1`
	deleteTenantPrefetchRuns    = `DELETE FROM prefetch_runs WHERE tenant_id = $1`      // first, as their steps lock them
	deleteTenantPrefetches      = `DELETE FROM prefetches WHERE tenant_id = $1`         // with their references
	deleteTenantRetention       = `DELETE FROM retention_policies WHERE tenant_id = $1` // with their runs
	deleteTenantPrincipalGroups = `DELETE FROM principal_groups WHERE tenant_id = $1`   // with their members
	deleteTenantProviders       = `DELETE FROM identity_providers WHERE tenant_id = $1`
	deleteTenantAccounts        = `DELETE FROM accounts WHERE tenant_id = $1`
	deleteTenantGroups          = `DELETE FROM upstream_groups WHERE tenant_id = $1`
	deleteTenantMirrorHosts     = `DELETE FROM mirror_hosts WHERE tenant_id = $1` // with their names
	deleteTenantUpstreams       = `DELETE FROM upstreams WHERE tenant_id = $1`
	deleteTenantCaches          = `
UPDATE registries SET state = 'deleting' WHERE tenant_id = $1 AND upstream_id IS NOT NULL AND state = 'active'`

	undeleteTenant = `
UPDATE tenants SET state = CASE WHEN was_suspended THEN 'suspended' ELSE 'active' END, was_suspended = false,
       version = version + 1, updated_at = berth_now(), deleted_at = NULL, expire_at = NULL
 WHERE id = $1`

	// Only domains of active registries.
	openTenantDomainsPostgres = openDomainsPostgres + ` AND` + existsActiveRegistry
	openTenantDomainsSQLite   = openDomainsSQLite + ` AND` + existsActiveRegistry
)

// DeleteTenant implements meta.Tenants. What it owns stays until it can no longer
// be restored; then the janitor removes it.
func (s *Records) DeleteTenant(ctx context.Context, by meta.Cause, slug string, version int64, force bool) error {
	return s.engine.Write(ctx, noTenant, func(t Tx) error {
		o, err := beginTenantChange(t, t.Pick(findSlugOwner, lockSlugOwnerToDelete), by, "tenant.delete", slug, version)
		if err != nil {
			return err
		}
		if err := checkEmpty(t, o.id, 0, force); err != nil {
			return err
		}
		if err := t.Queue(deleteTenant, o.id, t.Interval(s.lifetimes.Undelete)); err != nil {
			return err
		}
		if err := t.Queue(deleteTenantSessions, o.id); err != nil {
			return err
		}
		if err := t.Queue(closeTenantDomains, o.id); err != nil || s.lifetimes.Undelete > 0 {
			return err
		}
		return GiveUpTenant(t, o.id)
	})
}

// GiveUpTenant begins the removal of a deleted tenant, which can then no longer be
// restored. It first removes domains, access rules, identity providers, accounts with their
// keys, and upstreams with their credentials.
func GiveUpTenant(t Tx, id tenant.ID) error {
	for _, statement := range []string{
		forgetTenantExpiry, deleteTenantDomains, deleteTenantRules, deleteTenantTagRules, deleteTenantGates, deleteTenantPullRules, deleteTenantWebhooks, deleteTenantRetention, deleteTenantPrefetchRuns, deleteTenantPrefetches, deleteTenantPrincipalGroups, deleteTenantProviders, deleteTenantAccounts,
		deleteTenantMirrorHosts, deleteTenantGroups, deleteTenantUpstreams, deleteTenantCaches, deleteMappedInTenant, deleteMadeInTenant,
	} {
		if err := t.Queue(statement, id); err != nil {
			return err
		}
	}
	return nil
}

// UndeleteTenant implements meta.Tenants.
func (s *Records) UndeleteTenant(ctx context.Context, by meta.Cause, slug string, version int64) (meta.Tenant, error) {
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		o, err := beginOwnerChange(t, t.Pick(findSlugOwner, lockSlugOwnerToDelete), by, "tenant.undelete", slug)
		switch {
		case err != nil:
			return err
		case !o.gone():
			return fault.New(fault.Conflict, fault.AlreadyExists, "tenant %q is not deleted", slug)
		case !o.restorable:
			return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q was deleted too long ago to be restored", slug)
		}
		if err := checkVersion(o.version, version); err != nil {
			return err
		}
		t.OnViolation("domains_routing", ErrRestart) // another tenant has verified a host
		if err := t.Queue(undeleteTenant, o.id); err != nil {
			return err
		}
		return t.Queue(t.Pick(openTenantDomainsSQLite, openTenantDomainsPostgres), o.id)
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, slug)
}
