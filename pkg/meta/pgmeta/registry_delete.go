package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	deleteRegistry = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = berth_now(), deleted_at = berth_now(),
       expire_at = CASE WHEN $3::interval > interval '0' THEN berth_now() + $3::interval END
 WHERE tenant_id = $1 AND id = $2`

	// A host that leads nowhere can be verified by others.
	closeRegistryDomains = `
UPDATE domains SET verified = false, was_verified = true, version = version + 1 WHERE tenant_id = $1 AND registry_id = $2 AND verified`

	deleteRegistryDomains = `DELETE FROM domains WHERE tenant_id = $1 AND registry_id = $2`
	raiseEpoch            = `UPDATE tenants SET epoch = epoch + 1 WHERE id = $1`
)

// DeleteRegistry implements meta.Registries. The epoch is the tenant's: its
// clients fetch new tokens, none of which is for the host that is gone.
func (s *Store) DeleteRegistry(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64, force bool) error {
	return s.write(ctx, id, func(t *tx) error {
		// The tenant's row is locked before the registry's.
		if _, err := t.exec(raiseEpoch, id); err != nil {
			return err
		}
		r, err := t.changeRegistry(lockRegistryToDelete, by, "registry.delete", id, slug, version)
		if err != nil {
			return err
		}
		if err := t.unnamed(id, "registry", slug); err != nil {
			return err
		}
		if err := t.unforced(id, r, force); err != nil {
			return err
		}
		t.queue(deleteRegistry, id, r, s.life.Undelete)
		if s.life.Undelete > 0 {
			t.queue(closeRegistryDomains, id, r)
		} else {
			t.queue(deleteRegistryDomains, id, r)
		}
		return nil
	})
}

const (
	lockDeletedRegistry = `
SELECT id, version, state, coalesce(expire_at > berth_now(), false), settings
  FROM registries WHERE tenant_id = $1 AND slug = $2 AND upstream_id IS NULL FOR UPDATE`

	undeleteRegistry = `
UPDATE registries SET state = 'active', settings = $3, version = version + 1, updated_at = berth_now(), deleted_at = NULL, expire_at = NULL
 WHERE tenant_id = $1 AND id = $2`

	openRegistryDomains = `
UPDATE domains d SET verified = NOT EXISTS (SELECT 1 FROM domains other WHERE other.host = d.host AND other.verified),
       was_verified = false, version = version + 1
 WHERE d.tenant_id = $1 AND d.registry_id = $2 AND d.was_verified`
)

// UndeleteRegistry implements meta.Registries.
func (s *Store) UndeleteRegistry(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) (meta.Registry, error) {
	err := s.write(ctx, id, func(t *tx) error {
		if err := t.changeAlone(by, id, "registry.undelete", registryTarget(slug)); err != nil {
			return err
		}
		var r meta.Registry
		var restorable bool
		found, err := t.find(lockDeletedRegistry, []any{id, slug}, &r.ID, &r.Version, &r.State, &restorable, &r.Settings)
		switch {
		case err != nil:
			return err
		case found && r.State == tenant.Active:
			return fault.New(fault.Conflict, fault.AlreadyExists, "registry %q is not deleted", slug)
		case !restorable:
			return noRegistry(slug)
		}
		if err := checkVersion(r.Version, version); err != nil {
			return err
		}
		if err := t.groupExists(id, r.Settings.UpstreamGroup); fault.Is(err, fault.ResourceUnknown) {
			r.Settings.UpstreamGroup = ""
		} else if err != nil {
			return err
		}
		mirrored, err := t.stillThere(id, r.Settings.MirrorUpstreams.All())
		if err != nil {
			return err
		}
		r.Settings.MirrorUpstreams = tenant.SlugsOf(mirrored)
		t.means("domains_routing", errStartAgain) // somebody verified a host meanwhile
		t.queue(undeleteRegistry, id, r.ID, r.Settings)
		t.queue(openRegistryDomains, id, r.ID)
		return nil
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, id, slug)
}
