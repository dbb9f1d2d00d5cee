package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	deleteTenant = `
UPDATE tenants SET state = 'deleting', was_suspended = (state = 'suspended'), epoch = epoch + 1, version = version + 1,
       updated_at = berth_now(), deleted_at = berth_now(), expire_at = berth_now() + $2::interval
 WHERE id = $1`

	// A host that leads nowhere can be verified by others.
	closeTenantDomains = `
UPDATE domains SET verified = false, was_verified = true, version = version + 1 WHERE tenant_id = $1 AND verified`
)

// DeleteTenant implements meta.Tenants. What it owns stays until the janitor
// finds that it cannot be taken back any more.
func (s *Store) DeleteTenant(ctx context.Context, by meta.Cause, slug string, version int64, force bool) error {
	return s.write(ctx, nobody, func(t *tx) error {
		h, err := t.changeTenant(lockSlugToDelete, by, "tenant.delete", slug, version)
		if err != nil {
			return err
		}
		if err := t.unforced(h.id, 0, force); err != nil {
			return err
		}
		t.queue(deleteTenant, h.id, s.life.Undelete)
		t.queue(closeTenantDomains, h.id)
		if s.life.Undelete <= 0 {
			t.giveUpTenant(h.id)
		}
		return nil
	})
}

const (
	forgetTenantExpiry = `UPDATE tenants SET expire_at = NULL WHERE id = $1`

	deleteTenantDomains  = `DELETE FROM domains WHERE tenant_id = $1`
	deleteTenantAccounts = `DELETE FROM accounts WHERE tenant_id = $1`

	deleteTenantGroups    = `DELETE FROM upstream_groups WHERE tenant_id = $1`
	deleteTenantUpstreams = `DELETE FROM upstreams WHERE tenant_id = $1`
	deleteTenantCaches    = `
UPDATE registries SET state = 'deleting' WHERE tenant_id = $1 AND upstream_id IS NOT NULL AND state = 'active'`
)

// giveUpTenant queues the beginning of the removal of a deleted tenant, which
// from then on cannot be taken back. First goes what leads in, domains and
// accounts with their keys, and what leads out, with its credentials.
func (t *tx) giveUpTenant(id tenant.ID) {
	t.queue(forgetTenantExpiry, id)
	t.queue(deleteTenantDomains, id)
	t.queue(deleteTenantAccounts, id)
	t.queue(deleteTenantGroups, id)
	t.queue(deleteTenantUpstreams, id)
	t.queue(deleteTenantCaches, id)
}

const (
	undeleteTenant = `
UPDATE tenants SET state = CASE WHEN was_suspended THEN 'suspended' ELSE 'active' END, was_suspended = false,
       version = version + 1, updated_at = berth_now(), deleted_at = NULL, expire_at = NULL
 WHERE id = $1`

	// Only domains of registries that are not deleted themselves.
	openTenantDomains = `
UPDATE domains d SET verified = NOT EXISTS (SELECT 1 FROM domains other WHERE other.host = d.host AND other.verified),
       was_verified = false, version = version + 1
 WHERE d.tenant_id = $1 AND d.was_verified
   AND EXISTS (SELECT 1 FROM registries g WHERE g.tenant_id = d.tenant_id AND g.id = d.registry_id AND g.state = 'active')`
)

// UndeleteTenant implements meta.Tenants.
func (s *Store) UndeleteTenant(ctx context.Context, by meta.Cause, slug string, version int64) (meta.Tenant, error) {
	err := s.write(ctx, nobody, func(t *tx) error {
		h, err := t.changeHolder(lockSlugToDelete, by, "tenant.undelete", slug)
		switch {
		case err != nil:
			return err
		case !h.gone():
			return fault.New(fault.Conflict, fault.AlreadyExists, "tenant %q is not deleted", slug)
		case !h.restorable:
			return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q was deleted too long ago to be taken back", slug)
		}
		if err := checkVersion(h.version, version); err != nil {
			return err
		}
		t.means("domains_routing", errStartAgain) // somebody verified a host meanwhile
		t.queue(undeleteTenant, h.id)
		t.queue(openTenantDomains, h.id)
		return nil
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, slug)
}
