package sqlmeta

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const (
	selectHolder = `
SELECT t.id, t.slug, t.display_name, t.state, t.epoch, t.no_passwords, t.rate_limits, u.lim, u.used, u.overhead, u.cached, u.max_repositories, u.max_manifests, u.max_tags, ` + hostedByTenant + `, t.version, t.created_at, t.updated_at, t.deleted_at, t.expire_at
FROM tenants t JOIN usage u ON u.tenant_id = t.id`

	selectTenant = selectHolder + `
WHERE t.state <> 'deleted' AND t.state <> 'deleting'`

	findTenant  = selectTenant + ` AND t.slug = $1`
	listTenants = selectTenant + ` AND t.slug > $1 ORDER BY t.slug LIMIT $2`

	findHolder     = selectHolder + ` WHERE t.slug = $1 ORDER BY t.id DESC LIMIT 1`
	findTenantByID = selectHolder + ` WHERE t.id = $1`
	listHolders    = selectHolder + ` WHERE (t.slug, t.id) > ($1, $2) ORDER BY t.slug, t.id LIMIT $3`
)

func scanTenant(scan Scan) (meta.Tenant, error) {
	var t meta.Tenant
	err := scan(&t.ID, &t.Slug, &t.DisplayName, &t.State, &t.Epoch, &t.NoPasswords, jsonScanner{&t.RateLimits}, &t.Quota, &t.Used, &t.Overhead, &t.Cached,
		&t.MaxHosted.Repositories, &t.MaxHosted.Manifests, &t.MaxHosted.Tags, &t.Hosted.Bytes, &t.Hosted.Repositories, &t.Hosted.Manifests, &t.Hosted.Tags, &t.Hosted.Counting, &t.Version,
		timeScanner{&t.CreatedAt}, timeScanner{&t.UpdatedAt}, timeScanner{&t.DeletedAt}, timeScanner{&t.ExpireAt})
	return t, err
}

// FindTenant implements meta.Tenants.
func (s *Records) FindTenant(ctx context.Context, slug string) (meta.Tenant, error) {
	return find(ctx, s, noTenant, unknownTenant(slug), scanTenant, findTenant, slug)
}

// ListTenants implements meta.Tenants.
func (s *Records) ListTenants(ctx context.Context, p meta.Page) ([]meta.Tenant, error) {
	return list(ctx, s, noTenant, scanTenant, listTenants, p.After, p.Size)
}

// FindHolder implements meta.Tenants.
func (s *Records) FindHolder(ctx context.Context, slug string) (meta.Tenant, error) {
	return find(ctx, s, noTenant, unknownTenant(slug), scanTenant, findHolder, slug)
}

// FindTenantByID implements meta.Tenants.
func (s *Records) FindTenantByID(ctx context.Context, id tenant.ID) (meta.Tenant, error) {
	unknown := fault.New(fault.NotFound, fault.ResourceUnknown, "there is no tenant with the id %d", id)
	return find(ctx, s, noTenant, unknown, scanTenant, findTenantByID, id)
}

// ListHolders implements meta.Tenants.
func (s *Records) ListHolders(ctx context.Context, p meta.Page) ([]meta.Tenant, error) {
	slug, id, err := meta.ParseHolderKey(p.After)
	if err != nil {
		return nil, err
	}
	return list(ctx, s, noTenant, scanTenant, listHolders, slug, id, p.Size)
}

const (
	// The tenant that has the slug, or had it last; $2 is how long the slug of a
	// deleted tenant is reserved.
	findSlugOwner = `
SELECT id, state, version, coalesce(deleted_at > berth_now() - CAST($2 AS interval), false), coalesce(expire_at > berth_now(), false)
FROM tenants WHERE slug = $1 ORDER BY id DESC LIMIT 1`

	lockSlugOwner = findSlugOwner + ` FOR NO KEY UPDATE`

	// It waits for transactions that change the tenant's resources.
	lockSlugOwnerToDelete = findSlugOwner + ` FOR UPDATE`

	insertTenant = `
INSERT INTO tenants (slug, display_name, no_passwords, rate_limits, state, epoch, version, created_at, updated_at) VALUES ($1, $2, $3, $4, 'active', 1, 1, berth_now(), berth_now())
RETURNING id`

	insertUsage = `INSERT INTO usage (tenant_id, used, lim, max_repositories, max_manifests, max_tags) VALUES ($1, 0, $2, $3, $4, $5)`

	updateTenant = `
UPDATE tenants SET display_name = $2, state = $3, no_passwords = $4, rate_limits = $5, epoch = epoch + CAST(state = 'active' AND $3 = 'suspended' AS int), version = version + 1, updated_at = berth_now()
WHERE id = $1`

	updateQuota = `UPDATE usage SET lim = $2, max_repositories = $3, max_manifests = $4, max_tags = $5 WHERE tenant_id = $1`
)

// slugOwner is the tenant that has a slug, or had it last.
type slugOwner struct {
	id         tenant.ID
	state      tenant.State
	version    int64
	reserved   bool // deleted not long ago
	restorable bool // deleted, and can be restored
}

func (o slugOwner) gone() bool { return o.state == tenant.Deleting || o.state == tenant.Deleted }

// ownerOf finds the owner of a slug by one of the statements above.
func ownerOf(t Tx, query, slug string, quarantine time.Duration) (slugOwner, bool, error) {
	var o slugOwner
	found, err := t.Find(query, []any{slug, t.Interval(quarantine)}, &o.id, &o.state, &o.version, &o.reserved, &o.restorable)
	return o, found, err
}

// CreateTenant implements meta.Tenants.
func (s *Records) CreateTenant(ctx context.Context, by meta.Cause, create meta.Tenant, main tenant.Settings) (meta.Tenant, error) {
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		if err := checkSlug(t, by, create.Slug, s.lifetimes.Quarantine); err != nil {
			return err
		}
		rates, err := json.Marshal(create.RateLimits)
		if err != nil {
			return err
		}
		t.OnViolation("tenants_by_slug", ErrRestart) // another transaction took the slug: find out which
		var id tenant.ID
		if _, err := t.Find(insertTenant, []any{create.Slug, create.DisplayName, create.NoPasswords, string(rates)}, &id); err != nil {
			return err
		}
		if err := tenantEvent(t, by, id, "tenant.create", tenantTarget(create.Slug)); err != nil {
			return err
		}
		if err := addRegistry(t, meta.Registry{Tenant: id, Slug: tenant.MainRegistry, Settings: main}); err != nil {
			return err
		}
		return t.Queue(insertUsage, id, create.Quota, create.MaxHosted.Repositories, create.MaxHosted.Manifests, create.MaxHosted.Tags)
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, create.Slug)
}

// checkSlug refuses a slug that is in use, or that another tenant had less than
// quarantine ago. A repeated creation of the tenant ends in ErrAlreadyDone.
func checkSlug(t Tx, by meta.Cause, slug string, quarantine time.Duration) error {
	o, found, err := ownerOf(t, t.Pick(findSlugOwner, lockSlugOwner), slug, quarantine)
	switch {
	case err != nil || !found:
		return err
	case o.restorable:
		return fault.New(fault.Conflict, fault.NameQuarantined, "tenant %q was deleted and can be restored: undelete it, or choose another name", slug)
	case o.state == tenant.Deleting, o.state == tenant.Deleted && o.reserved:
		return fault.New(fault.Conflict, fault.NameQuarantined, "tenant %q was deleted; its name is reserved for a while", slug)
	case o.state == tenant.Deleted:
		return nil
	}
	if err := tenantEvent(t, by, o.id, "tenant.create", tenantTarget(slug)); err != nil {
		return err
	}
	return fault.New(fault.Conflict, fault.AlreadyExists, "tenant %q exists already", slug)
}

// UpdateTenant implements meta.Tenants.
func (s *Records) UpdateTenant(ctx context.Context, by meta.Cause, change meta.Tenant) (meta.Tenant, error) {
	if change.State != tenant.Active && change.State != tenant.Suspended {
		return meta.Tenant{}, fault.New(fault.Invalid, fault.RequestInvalid, "a tenant cannot be set to state %q", change.State)
	}
	err := s.engine.Write(ctx, noTenant, func(t Tx) error {
		o, err := beginTenantChange(t, t.Pick(findSlugOwner, lockSlugOwner), by, "tenant.update", change.Slug, change.Version)
		if err != nil {
			return err
		}
		if change.ID != 0 && change.ID != o.id {
			return unknownTenant(change.Slug) // another tenant has its slug now
		}
		rates, err := json.Marshal(change.RateLimits)
		if err != nil {
			return err
		}
		if err := t.Queue(updateTenant, o.id, change.DisplayName, change.State, change.NoPasswords, string(rates)); err != nil {
			return err
		}
		if change.State == tenant.Suspended {
			if err := t.Queue(deleteTenantSessions, o.id); err != nil {
				return err
			}
		}
		return t.Queue(updateQuota, o.id, change.Quota, change.MaxHosted.Repositories, change.MaxHosted.Manifests, change.MaxHosted.Tags)
	})
	if err != nil {
		return meta.Tenant{}, err
	}
	return s.FindTenant(ctx, change.Slug)
}

// beginTenantChange records the event of a change of the tenant itself and checks
// that the tenant exists in the expected version. The event comes first, because a
// repeated deletion finds the tenant deleted.
func beginTenantChange(t Tx, query string, by meta.Cause, verb, slug string, version int64) (slugOwner, error) {
	o, err := beginOwnerChange(t, query, by, verb, slug)
	if err != nil {
		return slugOwner{}, err
	}
	if o.gone() {
		return slugOwner{}, unknownTenant(slug)
	}
	return o, checkVersion(o.version, version)
}

// beginOwnerChange is beginTenantChange for a tenant in any state and version.
func beginOwnerChange(t Tx, query string, by meta.Cause, verb, slug string) (slugOwner, error) {
	o, found, err := ownerOf(t, query, slug, 0)
	if err == nil && !found {
		err = unknownTenant(slug)
	}
	if err != nil {
		return slugOwner{}, err
	}
	return o, tenantEvent(t, by, o.id, verb, tenantTarget(slug))
}

func tenantTarget(slug string) string { return "tenants/" + slug }

func unknownTenant(slug string) error {
	return fault.New(fault.NotFound, fault.ResourceUnknown, "tenant %q not found", slug)
}
