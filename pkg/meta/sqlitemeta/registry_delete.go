package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	deleteRegistry = `
UPDATE registries SET state = 'deleting', version = version + 1, updated_at = ?3, deleted_at = ?3, expire_at = ?4
 WHERE tenant_id = ?1 AND id = ?2`

	// A host that leads nowhere can be verified by others.
	closeRegistryDomains = `
UPDATE domains SET verified = 0, was_verified = 1, version = version + 1 WHERE tenant_id = ?1 AND registry_id = ?2 AND verified = 1`

	deleteRegistryDomains = `DELETE FROM domains WHERE tenant_id = ?1 AND registry_id = ?2`
	raiseEpoch            = `UPDATE tenants SET epoch = epoch + 1 WHERE id = ?1`
)

// DeleteRegistry implements meta.Registries. The epoch is the tenant's: its
// clients fetch new tokens, none of which is for the host that is gone.
func (s *Store) DeleteRegistry(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64, force bool) error {
	return s.writeFor(ctx, id, func(t *tx) error {
		r, err := t.changeRegistry(by, "registry.delete", id, slug, version)
		if err != nil {
			return err
		}
		if err := t.unnamed(id, "registry", slug); err != nil {
			return err
		}
		if err := t.unforced(id, r, force); err != nil {
			return err
		}
		var expireAt any
		domains := deleteRegistryDomains
		if s.life.Undelete > 0 {
			expireAt, domains = t.after(s.life.Undelete), closeRegistryDomains
		}
		if _, err := t.exec(deleteRegistry, id, r, t.now, expireAt); err != nil {
			return err
		}
		if _, err := t.exec(domains, id, r); err != nil {
			return err
		}
		_, err = t.exec(raiseEpoch, id)
		return err
	})
}

const (
	findDeletedRegistry = `
SELECT id, version, state, coalesce(expire_at, 0), settings FROM registries WHERE tenant_id = ?1 AND slug = ?2 AND upstream_id IS NULL`

	undeleteRegistry = `
UPDATE registries SET state = 'active', settings = ?3, version = version + 1, updated_at = ?4, deleted_at = NULL, expire_at = NULL
 WHERE tenant_id = ?1 AND id = ?2`

	openRegistryDomains = `
UPDATE domains SET verified = NOT EXISTS (SELECT 1 FROM domains other WHERE other.host = domains.host AND other.verified = 1),
       was_verified = 0, version = version + 1
 WHERE tenant_id = ?1 AND registry_id = ?2 AND was_verified = 1`
)

// UndeleteRegistry implements meta.Registries.
func (s *Store) UndeleteRegistry(ctx context.Context, by meta.Cause, id tenant.ID, slug string, version int64) (meta.Registry, error) {
	err := s.writeFor(ctx, id, func(t *tx) error {
		if err := t.change(by, id, "registry.undelete", registryTarget(slug)); err != nil {
			return err
		}
		var r meta.Registry
		var expireAt int64
		found, err := t.find(findDeletedRegistry, []any{id, slug}, &r.ID, &r.Version, &r.State, &expireAt, document{&r.Settings})
		switch {
		case err != nil:
			return err
		case found && r.State == tenant.Active:
			return fault.New(fault.Conflict, fault.AlreadyExists, "registry %q is not deleted", slug)
		case !found || expireAt <= t.now:
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
		encoded, err := json.Marshal(r.Settings)
		if err != nil {
			return err
		}
		if _, err := t.exec(undeleteRegistry, id, r.ID, string(encoded), t.now); err != nil {
			return err
		}
		_, err = t.exec(openRegistryDomains, id, r.ID)
		return err
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, id, slug)
}
