package sqlmeta

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectAnyRegistry = `
SELECT id, tenant_id, slug, settings, ` + hostedByRegistry + `, state, version, created_at, updated_at, deleted_at, expire_at FROM registries
WHERE upstream_id IS NULL AND tenant_id = $1`

	selectRegistry = selectAnyRegistry + ` AND state = 'active'`
	findRegistry   = selectRegistry + ` AND slug = $2`
	listRegistries = selectRegistry + ` AND slug > $2 ORDER BY slug LIMIT $3`

	findAnyRegistry   = selectAnyRegistry + ` AND slug = $2 AND (state = 'active' OR expire_at > berth_now())`
	listAllRegistries = selectAnyRegistry + ` AND slug > $2 AND (state = 'active' OR expire_at > berth_now()) ORDER BY slug LIMIT $3`

	insertRegistry = `
INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at) VALUES ($1, $2, $3, 'active', 1, berth_now(), berth_now())`

	findRegistryID = `SELECT id, version FROM registries WHERE tenant_id = $1 AND slug = $2 AND state = 'active' AND upstream_id IS NULL`
	lockRegistry   = findRegistryID + ` FOR NO KEY UPDATE`

	// It waits for transactions that are creating a repository there.
	lockRegistryToDelete = findRegistryID + ` FOR UPDATE`

	updateRegistry = `UPDATE registries SET settings = $3, version = version + 1, updated_at = berth_now() WHERE tenant_id = $1 AND id = $2`
)

func scanRegistry(scan Scan) (meta.Registry, error) {
	var r meta.Registry
	err := scan(&r.ID, &r.Tenant, &r.Slug, jsonScanner{&r.Settings},
		&r.Hosted.Bytes, &r.Hosted.Repositories, &r.Hosted.Manifests, &r.Hosted.Tags, &r.Hosted.Counting, &r.State, &r.Version,
		timeScanner{&r.CreatedAt}, timeScanner{&r.UpdatedAt}, timeScanner{&r.DeletedAt}, timeScanner{&r.ExpireAt})
	return r, err
}

// FindRegistry implements meta.Registries.
func (s *Records) FindRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	return find(ctx, s, t, noRegistry(slug), scanRegistry, findRegistry, t, slug)
}

// ListRegistries implements meta.Registries.
func (s *Records) ListRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	return list(ctx, s, t, scanRegistry, listRegistries, t, p.After, p.Size)
}

// FindAnyRegistry implements meta.Registries.
func (s *Records) FindAnyRegistry(ctx context.Context, t tenant.ID, slug string) (meta.Registry, error) {
	return find(ctx, s, t, noRegistry(slug), scanRegistry, findAnyRegistry, t, slug)
}

// ListAllRegistries implements meta.Registries.
func (s *Records) ListAllRegistries(ctx context.Context, t tenant.ID, p meta.Page) ([]meta.Registry, error) {
	return list(ctx, s, t, scanRegistry, listAllRegistries, t, p.After, p.Size)
}

// addRegistry inserts the registry. A registry that is being deleted still holds
// its slug.
func addRegistry(t Tx, r meta.Registry) error {
	settings, err := json.Marshal(r.Settings)
	if err != nil {
		return err
	}
	if err := checkNames(t, r.Tenant, r.Settings); err != nil {
		return err
	}
	t.OnViolation("registries_by_slug", fault.New(fault.Conflict, fault.AlreadyExists,
		"registry %q exists already, or was deleted: then undelete it, or wait until it is removed", r.Slug))
	_, err = t.Exec(insertRegistry, r.Tenant, r.Slug, string(settings))
	return err
}

// CreateRegistry implements meta.Registries.
func (s *Records) CreateRegistry(ctx context.Context, by meta.Cause, r meta.Registry) (meta.Registry, error) {
	err := s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		if err := beginAlone(t, by, r.Tenant, "registry.create", RegistryTarget(r.Slug)); err != nil {
			return err
		}
		if err := addRegistry(t, r); err != nil {
			return err
		}
		return checkLimit(t, s.limits.RegistryLimit(), countRegistries, r.Tenant)
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, r.Tenant, r.Slug)
}

// registryID finds the id and version of a registry by one of the statements
// above.
func registryID(t Tx, query string, id tenant.ID, slug string) (tenant.RegistryID, int64, error) {
	var r tenant.RegistryID
	var version int64
	found, err := t.Find(query, []any{id, slug}, &r, &version)
	if err == nil && !found {
		err = noRegistry(slug)
	}
	return r, version, err
}

// beginRegistryChange records the event of a change and finds the registry by one
// of the statements above, in the expected version.
func beginRegistryChange(t Tx, query string, by meta.Cause, verb string, id tenant.ID, slug string, version int64) (tenant.RegistryID, error) {
	if err := beginAlone(t, by, id, verb, RegistryTarget(slug)); err != nil {
		return 0, err
	}
	r, have, err := registryID(t, query, id, slug)
	if err != nil {
		return 0, err
	}
	return r, checkVersion(have, version)
}

// UpdateRegistry implements meta.Registries.
func (s *Records) UpdateRegistry(ctx context.Context, by meta.Cause, r meta.Registry) (meta.Registry, error) {
	err := s.engine.Write(ctx, r.Tenant, func(t Tx) error {
		settings, err := json.Marshal(r.Settings)
		if err != nil {
			return err
		}
		id, err := beginRegistryChange(t, t.Pick(findRegistryID, lockRegistry), by, "registry.update", r.Tenant, r.Slug, r.Version)
		if err != nil {
			return err
		}
		if err := checkSame(id, r.ID, noRegistry(r.Slug)); err != nil {
			return err
		}
		if err := checkNames(t, r.Tenant, r.Settings); err != nil {
			return err
		}
		return t.Queue(updateRegistry, r.Tenant, id, string(settings))
	})
	if err != nil {
		return meta.Registry{}, err
	}
	return s.FindRegistry(ctx, r.Tenant, r.Slug)
}

func noRegistry(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no registry %q", slug)
}
