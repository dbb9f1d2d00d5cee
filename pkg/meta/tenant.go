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
	Quota       int64 // bytes; 0 = none
	Used        int64 // bytes of distinct live blobs
	Overhead    int64 // bytes that its rows are charged as: BlobCost and the constants beside it
	Cached      int64 // bytes, of Used and Overhead, that give way to pushes
	Version     int64 // etag; grows with every change
	CreatedAt   time.Time
	UpdatedAt   time.Time
	DeletedAt   time.Time // zero while it lives
	ExpireAt    time.Time // until then UndeleteTenant brings it back; else zero
}

// Tenants keeps tenants. A tenant that is being deleted, or is deleted, is found
// only by the methods that say so.
type Tenants interface {
	// CreateTenant makes the tenant with its registry "main", its usage row and
	// settings for main. fault.AlreadyExists for a slug in use,
	// fault.NameQuarantined for one that was deleted less than
	// Lifetimes.Quarantine ago.
	CreateTenant(ctx context.Context, by Cause, t Tenant, main tenant.Settings) (Tenant, error)
	// FindTenant returns fault.ResourceUnknown for an unknown slug.
	FindTenant(ctx context.Context, slug string) (Tenant, error)
	// ListTenants pages by slug.
	ListTenants(ctx context.Context, p Page) ([]Tenant, error)
	// UpdateTenant changes DisplayName, Quota and State (Active or Suspended)
	// where t.Version is still current, else fault.EtagMismatch. Version 0 means
	// whatever is current. Suspending raises the epoch: tokens die.
	UpdateTenant(ctx context.Context, by Cause, t Tenant) (Tenant, error)
	// DeleteTenant marks it deleting: hosts are refused at once and tokens die.
	// Lifetimes.Undelete later the janitor removes what it owns; its row stays as a
	// tombstone. Without force, fault.NotEmpty where a registry of it holds a
	// manifest.
	DeleteTenant(ctx context.Context, by Cause, slug string, version int64, force bool) error
	// UndeleteTenant brings it back with all that it had, also suspended if it was.
	// Tokens from before stay dead. A domain whose host another tenant
	// verified meanwhile comes back unverified. fault.AlreadyExists for a tenant that lives,
	// fault.ResourceUnknown after Tenant.ExpireAt.
	UndeleteTenant(ctx context.Context, by Cause, slug string, version int64) (Tenant, error)
	// FindHolder is FindTenant, but also finds the deleted tenant that had the slug
	// last, in state Deleting or Deleted.
	FindHolder(ctx context.Context, slug string) (Tenant, error)
	// FindTenantByID finds a tenant in any state.
	FindTenantByID(ctx context.Context, id tenant.ID) (Tenant, error)
	// ListHolders pages tenants in any state by slug and id; Page.After is the
	// HolderKey of the last one seen.
	ListHolders(ctx context.Context, p Page) ([]Tenant, error)
}

// HolderKey is the place of a tenant in ListHolders.
func HolderKey(t Tenant) string { return t.Slug + "/" + strconv.FormatInt(int64(t.ID), 10) }

// ParseHolderKey undoes HolderKey; the empty key is before all others.
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
