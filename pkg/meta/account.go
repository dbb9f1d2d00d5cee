package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Account is a service account of a tenant.
type Account struct {
	ID          int64
	Tenant      tenant.ID
	Slug        string
	DisplayName string
	Role        access.Role
	Disabled    bool
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// AccountKey is one secret of a service account; only its SHA-256 is kept.
type AccountKey struct {
	Name      string // generated; unique in the account
	Hash      [32]byte
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
}

// Accounts keeps service accounts and their keys; absence is
// fault.ResourceUnknown.
type Accounts interface {
	ServiceAccounts
	AccountKeys
	AccountFinder
}

// ServiceAccounts keeps service accounts.
type ServiceAccounts interface {
	CreateAccount(ctx context.Context, by Cause, a Account) (Account, error)
	FindAccount(ctx context.Context, t tenant.ID, slug string) (Account, error)
	// ListAccounts pages by slug.
	ListAccounts(ctx context.Context, t tenant.ID, p Page) ([]Account, error)
	// UpdateAccount changes DisplayName, Role and Disabled; Version as in
	// UpdateTenant.
	UpdateAccount(ctx context.Context, by Cause, a Account) (Account, error)
	DeleteAccount(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error
}

// AccountKeys keeps the keys of service accounts.
type AccountKeys interface {
	CreateAccountKey(ctx context.Context, by Cause, t tenant.ID, slug string, k AccountKey) (AccountKey, error)
	ListAccountKeys(ctx context.Context, t tenant.ID, slug string) ([]AccountKey, error)
	DeleteAccountKey(ctx context.Context, by Cause, t tenant.ID, slug, name string) error
}

// AccountFinder finds service accounts by their secrets.
type AccountFinder interface {
	// FindAccountByKey finds the enabled account, of an active tenant, that holds an
	// unexpired key with this hash, in one statement; slug may be empty for callers
	// that only have the secret; so may t be 0. Otherwise it returns
	// fault.ResourceUnknown, at the same cost.
	FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (Account, error)
}
