package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectHolder = `
SELECT t.id, t.slug, t.display_name, t.state, t.epoch, u.lim, u.used, u.overhead, u.cached, t.version, t.created_at, t.updated_at, t.deleted_at, t.expire_at
FROM tenants t JOIN usage u ON u.tenant_id = t.id`

	selectTenant = selectHolder + `
WHERE t.state <> 'deleted' AND t.state <> 'deleting'`
)

func scanTenant(scan scan) (meta.Tenant, error) {
	var t meta.Tenant
	err := scan(&t.ID, &t.Slug, &t.DisplayName, &t.State, &t.Epoch, &t.Quota, &t.Used, &t.Overhead, &t.Cached, &t.Version,
		moment{&t.CreatedAt}, moment{&t.UpdatedAt}, moment{&t.DeletedAt}, moment{&t.ExpireAt})
	return t, err
}

const (
	findTenant  = selectTenant + ` AND t.slug = ?1`
	listTenants = selectTenant + ` AND t.slug > ?1 ORDER BY t.slug LIMIT ?2`

	findHolder     = selectHolder + ` WHERE t.slug = ?1 ORDER BY t.id DESC LIMIT 1`
	findTenantByID = selectHolder + ` WHERE t.id = ?1`
	listHolders    = selectHolder + ` WHERE (t.slug, t.id) > (?1, ?2) ORDER BY t.slug, t.id LIMIT ?3`
)

// FindTenant implements meta.Tenants.
func (s *Store) FindTenant(ctx context.Context, slug string) (meta.Tenant, error) {
	found, err := collect(ctx, s, scanTenant, findTenant, slug)
	return only(found, err, noTenant(slug))
}

// ListTenants implements meta.Tenants.
func (s *Store) ListTenants(ctx context.Context, p meta.Page) ([]meta.Tenant, error) {
	return collect(ctx, s, scanTenant, listTenants, p.After, p.Size)
}

// FindHolder implements meta.Tenants.
func (s *Store) FindHolder(ctx context.Context, slug string) (meta.Tenant, error) {
	found, err := collect(ctx, s, scanTenant, findHolder, slug)
	return only(found, err, noTenant(slug))
}

// FindTenantByID implements meta.Tenants.
func (s *Store) FindTenantByID(ctx context.Context, id tenant.ID) (meta.Tenant, error) {
	found, err := collect(ctx, s, scanTenant, findTenantByID, id)
	return only(found, err, fault.New(fault.NotFound, fault.ResourceUnknown, "there is no tenant with the id %d", id))
}

// ListHolders implements meta.Tenants.
func (s *Store) ListHolders(ctx context.Context, p meta.Page) ([]meta.Tenant, error) {
	slug, id, err := meta.ParseHolderKey(p.After)
	if err != nil {
		return nil, err
	}
	return collect(ctx, s, scanTenant, listHolders, slug, id, p.Size)
}

const (
	// findSlug finds who has the slug, or had it last.
	findSlug = `
SELECT id, state, version, coalesce(deleted_at, 0), coalesce(expire_at, 0) FROM tenants WHERE slug = ?1 ORDER BY id DESC LIMIT 1`

	insertTenant = `
INSERT INTO tenants (slug, display_name, state, epoch, version, created_at, updated_at) VALUES (?1, ?2, 'active', 1, 1, ?3, ?3)
RETURNING id`

	insertUsage = `INSERT INTO usage (tenant_id, used, lim) VALUES (?1, 0, ?2)`
)

// holder is who has a slug, or had it last.
type holder struct {
	id        tenant.ID
	state     tenant.State
	version   int64
	deletedAt int64 // microseconds, as expireAt
	expireAt  int64
}

func (h holder) gone() bool { return h.state == tenant.Deleting || h.state == tenant.Deleted }

func (h holder) restorable(now int64) bool { return h.state == tenant.Deleting && h.expireAt > now }

func (t *tx) holder(slug string) (holder, bool, error) {
	var h holder
	found, err := t.find(findSlug, []any{slug}, &h.id, &h.state, &h.version, &h.deletedAt, &h.expireAt)
	return h, found, err
}

// CreateTenant implements meta.Tenants.
func (s *Store) CreateTenant(ctx context.Context, by meta.Cause, create meta.Tenant, main tenant.Settings) (meta.Tenant, error) {
	err := s.write(ctx, func(t *tx) error {
		if err := t.slugIsFree(by, create.Slug, t.now-s.life.Quarantine.Microseconds()); err != nil {
			return err
		}
		var id tenant.ID
		if _, err := t.find(insertTenant, []any{create.Slug, create.DisplayName, t.now}, &id); err != nil {
			return err
		}
		if err := t.event(by, id, "tenant.create", tenantTarget(create.Slug)); err != nil {
			return err
		}
		if err := t.insertRegistry(meta.Registry{Tenant: id, Slug: tenant.MainRegistry, Settings: main}); err != nil {
			return err
		}
		_, err := t.exec(insertUsage, id, create.Quota)
		return err
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, create.Slug)
}

// slugIsFree refuses a slug that a living tenant has, or that another one had
// after the moment deletedBefore. The tenant's own creation, repeated, ends in
// errAlreadyDone.
func (t *tx) slugIsFree(by meta.Cause, slug string, deletedBefore int64) error {
	h, found, err := t.holder(slug)
	switch {
	case err != nil || !found:
		return err
	case h.restorable(t.now):
		return fault.New(fault.Conflict, fault.NameQuarantined, "tenant %q was deleted and can be taken back: undelete it, or take another name", slug)
	case h.state == tenant.Deleting, h.state == tenant.Deleted && h.deletedAt > deletedBefore:
		return fault.New(fault.Conflict, fault.NameQuarantined, "tenant %q was deleted; its name is reserved for a while", slug)
	case h.state == tenant.Deleted:
		return nil
	}
	if err := t.event(by, h.id, "tenant.create", tenantTarget(slug)); err != nil {
		return err
	}
	return fault.New(fault.Conflict, fault.AlreadyExists, "tenant %q exists already", slug)
}

const (
	updateTenant = `
UPDATE tenants SET display_name = ?2, state = ?3, epoch = epoch + (state = 'active' AND ?3 = 'suspended'), version = version + 1, updated_at = ?4
WHERE id = ?1`

	updateQuota = `UPDATE usage SET lim = ?2 WHERE tenant_id = ?1`
)

// UpdateTenant implements meta.Tenants.
func (s *Store) UpdateTenant(ctx context.Context, by meta.Cause, change meta.Tenant) (meta.Tenant, error) {
	if change.State != tenant.Active && change.State != tenant.Suspended {
		return meta.Tenant{}, fault.New(fault.Invalid, fault.RequestInvalid, "a tenant cannot be set to state %q", change.State)
	}
	err := s.write(ctx, func(t *tx) error {
		h, err := t.changeTenant(by, "tenant.update", change.Slug, change.Version)
		if err != nil {
			return err
		}
		if change.ID != 0 && change.ID != h.id {
			return noTenant(change.Slug) // its name has gone to another one since
		}
		if _, err := t.exec(updateTenant, h.id, change.DisplayName, change.State, t.now); err != nil {
			return err
		}
		_, err = t.exec(updateQuota, h.id, change.Quota)
		return err
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, change.Slug)
}

// changeTenant records the event of a change of the tenant itself and checks
// that the tenant is there, in the version that was asked for. The event comes
// first: a repeated deletion finds the tenant gone.
func (t *tx) changeTenant(by meta.Cause, verb, slug string, version int64) (holder, error) {
	h, err := t.changeHolder(by, verb, slug)
	if err != nil {
		return holder{}, err
	}
	if h.gone() {
		return holder{}, noTenant(slug)
	}
	return h, checkVersion(h.version, version)
}

// changeHolder is changeTenant for a tenant in any state and version.
func (t *tx) changeHolder(by meta.Cause, verb, slug string) (holder, error) {
	h, found, err := t.holder(slug)
	if err == nil && !found {
		err = noTenant(slug)
	}
	if err != nil {
		return holder{}, err
	}
	return h, t.event(by, h.id, verb, tenantTarget(slug))
}

const tenantLives = `SELECT 1 FROM tenants WHERE id = ?1 AND state IN ('active', 'suspended')`

// change begins a change of what a tenant owns: it checks that the tenant is
// there and records the event.
func (t *tx) change(by meta.Cause, id tenant.ID, verb, target string) error {
	var one int
	found, err := t.find(tenantLives, []any{id}, &one)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no such tenant")
	}
	return t.event(by, id, verb, target)
}

func tenantTarget(slug string) string { return "tenants/" + slug }

func noTenant(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "there is no tenant %q", slug)
}
