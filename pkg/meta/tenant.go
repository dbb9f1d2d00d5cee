package meta

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Tenant is a customer as the admin API sees it.
type Tenant struct {
	ID          tenant.ID
	Slug        string
	DisplayName string
	State       tenant.State
	Epoch       int64
	NoPasswords bool // clients log in with keys and access tokens only
	RateLimits  tenant.RateLimits
	Quota       int64        // bytes; 0 = none
	MaxHosted   tenant.Quota // of all registries together, without Bytes
	Hosted      Hosted       // output only; of all registries together, with the bytes of each
	Used        int64        // bytes of distinct live blobs
	Overhead    int64        // the charge of its rows in bytes: see BlobCost
	Cached      int64        // bytes of Used and Overhead that are evicted when pushes need room
	Version     int64        // etag; grows with every change
	CreatedAt   time.Time
	UpdatedAt   time.Time
	DeletedAt   time.Time // zero if not deleted
	ExpireAt    time.Time // while deleted: when UndeleteTenant becomes impossible
}

// Tenants keeps tenants. Only methods that say so find a tenant that is deleted or
// being deleted.
type Tenants interface {
	// CreateTenant creates the tenant with its usage row, and its registry "main" with
	// the settings. fault.AlreadyExists for a slug in use, fault.NameQuarantined if
	// its tenant was deleted less than Lifetimes.Quarantine ago.
	CreateTenant(ctx context.Context, by Cause, t Tenant, main tenant.Settings) (Tenant, error)
	// FindTenant returns fault.ResourceUnknown for an unknown slug.
	FindTenant(ctx context.Context, slug string) (Tenant, error)
	// ListTenants pages by slug.
	ListTenants(ctx context.Context, p Page) ([]Tenant, error)
	// UpdateTenant changes DisplayName, NoPasswords, RateLimits, Quota, MaxHosted and State (Active or
	// Suspended) where t.Version is still current, else fault.EtagMismatch. Version 0 matches any. Where another one has the slug of what was
	// read, which was deleted meanwhile, it is fault.ResourceUnknown.
	// Suspending raises the epoch, which revokes tokens.
	UpdateTenant(ctx context.Context, by Cause, t Tenant) (Tenant, error)
	// DeleteTenant marks it deleting: its hosts are refused and its tokens revoked at
	// once. After Lifetimes.Undelete the janitor removes what it owns; its row stays
	// as a tombstone. Without force, fault.NotEmpty if one of its registries holds a
	// manifest.
	DeleteTenant(ctx context.Context, by Cause, slug string, version int64, force bool) error
	// UndeleteTenant restores it with all that it owned; it stays suspended if it was. Old
	// tokens stay revoked. A domain whose host another tenant verified meanwhile becomes
	// unverified. fault.AlreadyExists for a tenant that is not deleted,
	// fault.ResourceUnknown after Tenant.ExpireAt.
	UndeleteTenant(ctx context.Context, by Cause, slug string, version int64) (Tenant, error)
	// FindHolder is FindTenant, but also finds the last deleted tenant with the slug,
	// in state Deleting or Deleted.
	FindHolder(ctx context.Context, slug string) (Tenant, error)
	// FindTenantByID finds a tenant in any state.
	FindTenantByID(ctx context.Context, id tenant.ID) (Tenant, error)
	// ListHolders pages tenants in any state by slug and id; Page.After is the
	// HolderKey of the last one seen.
	ListHolders(ctx context.Context, p Page) ([]Tenant, error)
}

// HolderKey is the page key of a tenant in ListHolders.
func HolderKey(t Tenant) string { return t.Slug + "/" + strconv.FormatInt(int64(t.ID), 10) }

// ParseHolderKey is the inverse of HolderKey; the empty key sorts first.
func ParseHolderKey(key string) (string, tenant.ID, error) {
	slug, decimal, _ := strings.Cut(key, "/")
	if key == "" {
		return "", 0, nil
	}
	id, err := strconv.ParseInt(decimal, 10, 64)
	if err != nil {
		return "", 0, fault.Wrap(err, fault.Invalid, fault.PageTokenInvalid, "the page token is not valid")
	}
	return slug, tenant.ID(id), nil
}
