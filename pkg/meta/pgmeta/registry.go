package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectAnyRegistry = `
SELECT id, tenant_id, slug, settings, state, version, created_at, updated_at, deleted_at, expire_at FROM registries
WHERE upstream_id IS NULL AND tenant_id = $1`

	selectRegistry = selectAnyRegistry + ` AND state = 'active'`
)

func scanRegistry(scan scan) (meta.Registry, error) {
	var r meta.Registry
	err := scan(&r.ID, &r.Tenant, &r.Slug, &r.Settings, &r.State, &r.Version,
		moment{&r.CreatedAt}, moment{&r.UpdatedAt}, moment{&r.DeletedAt}, moment{&r.ExpireAt})
	return r, err
}

const (
	findRegistry   = selectRegistry + ` AND slug = $2`
	listRegistries = selectRegistry + ` AND slug > $2 ORDER BY slug LIMIT $3`

	findAnyRegistry   = selectAnyRegistry + ` AND slug = $2 AND (state = 'active' OR expire_at > berth_now())`
	listAllRegistries = selectAnyRegistry + ` AND slug > $2 AND (state = 'active' OR expire_at > berth_now()) ORDER BY slug LIMIT $3`
)

// FindRegistry implements meta.Registries.
func (s *Store) FindRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	found, err := collect(ctx, s, t, scanRegistry, findRegistry, t, slug)
	return only(found, err, noRegistry(slug))
}

// ListRegistries implements meta.Registries.
func (s *Store) ListRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	return collect(ctx, s, t, scanRegistry, listRegistries, t, p.After, p.Size)
}

// FindAnyRegistry implements meta.Registries.
func (s *Store) FindAnyRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	found, err := collect(ctx, s, t, scanRegistry, findAnyRegistry, t, slug)
	return only(found, err, noRegistry(slug))
}

// ListAllRegistries implements meta.Registries.
func (s *Store) ListAllRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	return collect(ctx, s, t, scanRegistry, listAllRegistries, t, p.After, p.Size)
}

const insertRegistry = `
INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at) VALUES ($1, $2, $3, 'active', 1, berth_now(), berth_now())`

// insertRegistry adds the registry; its predecessor of that slug counts as
// long as it is being deleted.
func (t *tx) insertRegistry(r meta.Registry) error {
	if err := t.groupExists(r.Tenant, r.Settings.UpstreamGroup); err != nil {
		return err
	}
	if err := t.mirroredExist(r.Tenant, r.Settings.MirrorUpstreams.All()); err != nil {
		return err
	}
	t.means("registries_by_slug", fault.New(fault.Conflict, fault.AlreadyExists, "registry %q exists already, or was deleted: then undelete it, or wait until it is removed", r.Slug))
	_, err := t.exec(insertRegistry, r.Tenant, r.Slug, r.Settings)
	return err
}

// CreateRegistry implements meta.Registries.
func (s *Store) CreateRegistry(ctx context.Context, by meta.Cause, r meta.Registry) (meta.Registry, error) {
	err := s.write(ctx, r.Tenant, func(t *tx) error {
		if err := t.changeAlone(by, r.Tenant, "registry.create", registryTarget(r.Slug)); err != nil {
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
	lockRegistry = `
SELECT id, version FROM registries WHERE tenant_id = $1 AND slug = $2 AND state = 'active' AND upstream_id IS NULL FOR NO KEY UPDATE`

	// It waits for those who are making a repository there.
	lockRegistryToDelete = `
SELECT id, version FROM registries WHERE tenant_id = $1 AND slug = $2 AND state = 'active' AND upstream_id IS NULL FOR UPDATE`

	updateRegistry = `UPDATE registries SET settings = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`
)

// registry locks a registry by one of the statements above, and finds its id
// and version.
func (t *tx) registry(lock string, id tenant.ID, slug string) (tenant.RegistryID, int64, error) {
	var r tenant.RegistryID
	var version int64
	found, err := t.find(lock, []any{id, slug}, &r, &version)
	if err == nil && !found {
		err = noRegistry(slug)
	}
	return r, version, err
}

// changeRegistry records the event of a change and locks the registry, in the
// version that was asked for.
func (t *tx) changeRegistry(lock string, by meta.Cause, verb string, id tenant.ID, slug string, version int64) (tenant.RegistryID, error) {
	if err := t.changeAlone(by, id, verb, registryTarget(slug)); err != nil {
		return 0, err
	}
	r, have, err := t.registry(lock, id, slug)
	if err != nil {
		return 0, err
	}
	return r, checkVersion(have, version)
}

// UpdateRegistry implements meta.Registries.
func (s *Store) UpdateRegistry(ctx context.Context, by meta.Cause, change meta.Registry) (meta.Registry, error) {
	err := s.write(ctx, change.Tenant, func(t *tx) error {
		id, err := t.changeRegistry(lockRegistry, by, "registry.update", change.Tenant, change.Slug, change.Version)
		if err != nil {
			return err
		}
		if err := t.groupExists(change.Tenant, change.Settings.UpstreamGroup); err != nil {
			return err
		}
		if err := t.mirroredExist(change.Tenant, change.Settings.MirrorUpstreams.All()); err != nil {
			return err
		}
		_, err = t.exec(updateRegistry, change.Tenant, id, change.Settings)
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
