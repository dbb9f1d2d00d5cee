package sqlitemeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectAnyRegistry = `
SELECT id, tenant_id, slug, settings, state, version, created_at, updated_at, deleted_at, expire_at FROM registries
WHERE upstream_id IS NULL AND tenant_id = ?1`

	selectRegistry = selectAnyRegistry + ` AND state = 'active'`
)

func scanRegistry(scan scan) (meta.Registry, error) {
	var r meta.Registry
	err := scan(&r.ID, &r.Tenant, &r.Slug, document{&r.Settings}, &r.State, &r.Version,
		moment{&r.CreatedAt}, moment{&r.UpdatedAt}, moment{&r.DeletedAt}, moment{&r.ExpireAt})
	return r, err
}

const (
	findRegistry   = selectRegistry + ` AND slug = ?2`
	listRegistries = selectRegistry + ` AND slug > ?2 ORDER BY slug LIMIT ?3`

	findAnyRegistry   = selectAnyRegistry + ` AND slug = ?2 AND (state = 'active' OR expire_at > ?3)`
	listAllRegistries = selectAnyRegistry + ` AND slug > ?2 AND (state = 'active' OR expire_at > ?3) ORDER BY slug LIMIT ?4`
)

// FindRegistry implements meta.Registries.
func (s *Store) FindRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	found, err := collect(ctx, s, scanRegistry, findRegistry, t, slug)
	return only(found, err, noRegistry(slug))
}

// ListRegistries implements meta.Registries.
func (s *Store) ListRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	return collect(ctx, s, scanRegistry, listRegistries, t, p.After, p.Size)
}

// FindAnyRegistry implements meta.Registries.
func (s *Store) FindAnyRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	found, err := collect(ctx, s, scanRegistry, findAnyRegistry, t, slug, s.opts.Now().UnixMicro())
	return only(found, err, noRegistry(slug))
}

// ListAllRegistries implements meta.Registries.
func (s *Store) ListAllRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	return collect(ctx, s, scanRegistry, listAllRegistries, t, p.After, s.opts.Now().UnixMicro(), p.Size)
}

const insertRegistry = `
INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at) VALUES (?1, ?2, ?3, 'active', 1, ?4, ?4)`

// insertRegistry adds the registry; its predecessor of that slug counts as
// long as it is being deleted.
func (t *tx) insertRegistry(r meta.Registry) error {
	if err := t.groupExists(r.Tenant, r.Settings.UpstreamGroup); err != nil {
		return err
	}
	if err := t.mirroredExist(r.Tenant, r.Settings.MirrorUpstreams.All()); err != nil {
		return err
	}
	encoded, err := json.Marshal(r.Settings)
	if err != nil {
		return err
	}
	_, err = t.exec(insertRegistry, r.Tenant, r.Slug, string(encoded), t.now)
	if violatesUnique(err) {
		return fault.Wrap(err, fault.Conflict, fault.AlreadyExists, "registry %q exists already, or was deleted: then undelete it, or wait until it is removed", r.Slug)
	}
	return err
}

// CreateRegistry implements meta.Registries.
func (s *Store) CreateRegistry(ctx context.Context, by meta.Cause, r meta.Registry) (meta.Registry, error) {
	err := s.writeFor(ctx, r.Tenant, func(t *tx) error {
		if err := t.change(by, r.Tenant, "registry.create", registryTarget(r.Slug)); err != nil {
			return err
		}
		if err := t.insertRegistry(r); err != nil {
			return err
		}
		return t.within(s.opts.Limits.RegistryLimit(), countRegistries, r.Tenant)
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, r.Tenant, r.Slug)
}

const (
	findRegistryID = `SELECT id, version FROM registries WHERE tenant_id = ?1 AND slug = ?2 AND state = 'active' AND upstream_id IS NULL`
	updateRegistry = `UPDATE registries SET settings = ?3, version = version + 1, updated_at = ?4 WHERE tenant_id = ?1 AND id = ?2`
)

// registry finds the id and the version of a registry.
func (t *tx) registry(id tenant.ID, slug string) (tenant.RegistryID, int64, error) {
	var r tenant.RegistryID
	var version int64
	found, err := t.find(findRegistryID, []any{id, slug}, &r, &version)
	if err == nil && !found {
		err = noRegistry(slug)
	}
	return r, version, err
}

// changeRegistry records the event of a change and checks that the registry is
// there, in the version that was asked for.
func (t *tx) changeRegistry(by meta.Cause, verb string, id tenant.ID, slug string, version int64) (tenant.RegistryID, error) {
	if err := t.change(by, id, verb, registryTarget(slug)); err != nil {
		return 0, err
	}
	r, have, err := t.registry(id, slug)
	if err != nil {
		return 0, err
	}
	return r, checkVersion(have, version)
}

// UpdateRegistry implements meta.Registries.
func (s *Store) UpdateRegistry(ctx context.Context, by meta.Cause, change meta.Registry) (meta.Registry, error) {
	encoded, err := json.Marshal(change.Settings)
	if err != nil {
		return meta.Registry{}, translate(err)
	}
	err = s.writeFor(ctx, change.Tenant, func(t *tx) error {
		id, err := t.changeRegistry(by, "registry.update", change.Tenant, change.Slug, change.Version)
		if err != nil {
			return err
		}
		if err := t.groupExists(change.Tenant, change.Settings.UpstreamGroup); err != nil {
			return err
		}
		if err := t.mirroredExist(change.Tenant, change.Settings.MirrorUpstreams.All()); err != nil {
			return err
		}
		_, err = t.exec(updateRegistry, change.Tenant, id, string(encoded), t.now)
		return err
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, change.Tenant, change.Slug)
}

func registryTarget(slug string) string { return "registries/" + slug }

func noRegistry(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no registry %q", slug)
}
