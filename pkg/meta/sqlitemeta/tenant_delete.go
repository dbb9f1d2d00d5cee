package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	deleteTenant = `
UPDATE tenants SET state = 'deleting', was_suspended = (state = 'suspended'), epoch = epoch + 1, version = version + 1,
       updated_at = ?2, deleted_at = ?2, expire_at = ?3
 WHERE id = ?1`

	// A host that leads nowhere can be verified by others.
	closeTenantDomains = `
UPDATE domains SET verified = 0, was_verified = 1, version = version + 1 WHERE tenant_id = ?1 AND verified = 1`
)

// DeleteTenant implements meta.Tenants. What it owns stays until the janitor
// finds that it cannot be taken back any more.
func (s *Store) DeleteTenant(ctx context.Context, by meta.Cause, slug string, version int64, force bool) error {
	return s.write(ctx, func(t *tx) error {
		h, err := t.changeTenant(by, "tenant.delete", slug, version)
		if err != nil {
			return err
		}
		if err := t.unforced(h.id, 0, force); err != nil {
			return err
		}
		if _, err := t.exec(deleteTenant, h.id, t.now, t.after(s.life.Undelete)); err != nil {
			return err
		}
		if _, err := t.exec(closeTenantDomains, h.id); err != nil {
			return err
		}
		if s.life.Undelete > 0 {
			return nil
		}
		return t.giveUpTenant(h.id)
	})
}

const (
	forgetTenantExpiry = `UPDATE tenants SET expire_at = NULL WHERE id = ?1`

	deleteTenantDomains  = `DELETE FROM domains WHERE tenant_id = ?1`
	deleteTenantAccounts = `DELETE FROM accounts WHERE tenant_id = ?1`

	deleteTenantUpstreams = `DELETE FROM upstreams WHERE tenant_id = ?1`
	deleteTenantGroups    = `DELETE FROM upstream_groups WHERE tenant_id = ?1`
	deleteTenantCaches    = `
UPDATE registries SET state = 'deleting' WHERE tenant_id = ?1 AND upstream_id IS NOT NULL AND state = 'active'`
)

// giveUpTenant begins the removal of a deleted tenant, which from then on cannot
// be taken back. First goes what leads in, domains and accounts with their keys,
// and what leads out, with its credentials.
func (t *tx) giveUpTenant(id tenant.ID) error {
	for _, statement := range []string{
		forgetTenantExpiry, deleteTenantDomains, deleteTenantAccounts, deleteTenantUpstreams, deleteTenantGroups, deleteTenantCaches,
	} {
		if _, err := t.exec(statement, id); err != nil {
			return err
		}
	}
	return nil
}

const (
	undeleteTenant = `
UPDATE tenants SET state = CASE was_suspended WHEN 1 THEN 'suspended' ELSE 'active' END, was_suspended = 0,
       version = version + 1, updated_at = ?2, deleted_at = NULL, expire_at = NULL
 WHERE id = ?1`

	// Only domains of registries that are not deleted themselves.
	openTenantDomains = `
UPDATE domains SET verified = NOT EXISTS (SELECT 1 FROM domains other WHERE other.host = domains.host AND other.verified = 1),
       was_verified = 0, version = version + 1
 WHERE tenant_id = ?1 AND was_verified = 1
   AND registry_id IN (SELECT r.id FROM registries r WHERE r.tenant_id = ?1 AND r.state = 'active')`
)

// UndeleteTenant implements meta.Tenants.
func (s *Store) UndeleteTenant(ctx context.Context, by meta.Cause, slug string, version int64) (meta.Tenant, error) {
	err := s.write(ctx, func(t *tx) error {
		h, err := t.changeHolder(by, "tenant.undelete", slug)
		switch {
		case err != nil:
			return err
		case !h.gone():
			return fault.New(fault.Conflict, fault.AlreadyExists, "tenant %q is not deleted", slug)
		case !h.restorable(t.now):
			return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q was deleted too long ago to be taken back", slug)
		}
		if err := checkVersion(h.version, version); err != nil {
			return err
		}
		if _, err := t.exec(undeleteTenant, h.id, t.now); err != nil {
			return err
		}
		_, err = t.exec(openTenantDomains, h.id)
		return err
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, slug)
}
