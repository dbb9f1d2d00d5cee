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
	Name      string // chosen by us, unique in the account
	Hash      [32]byte
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
}

// Accounts keeps service accounts and their keys; absence is
// fault.ResourceUnknown.
type Accounts interface {
	CreateAccount(ctx context.Context, by Cause, a Account) (Account, error)
	FindAccount(ctx context.Context, t tenant.ID, slug string) (Account, error)
	// ListAccounts pages by slug.
	ListAccounts(ctx context.Context, t tenant.ID, p Page) ([]Account, error)
	// UpdateAccount changes DisplayName, Role and Disabled; Version as in
	// UpdateTenant.
	UpdateAccount(ctx context.Context, by Cause, a Account) (Account, error)
	DeleteAccount(ctx context.Context, by Cause, t tenant.ID, slug string, version int64) error

	CreateAccountKey(ctx context.Context, by Cause, t tenant.ID, slug string, k AccountKey) (AccountKey, error)
	ListAccountKeys(ctx context.Context, t tenant.ID, slug string) ([]AccountKey, error)
	DeleteAccountKey(ctx context.Context, by Cause, t tenant.ID, slug, name string) error
	// FindAccountByKey finds the enabled account that holds an unexpired key with
	// this hash, in one statement; slug may be empty for callers that only have
	// the secret, and t may be 0 likewise.
	FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (Account, error)
}

// SigningKey is a key that signs tokens.
type SigningKey struct {
	ID        string // kid: ^[A-Za-z0-9_-]{1,64}$
	Algorithm string // "EdDSA"
	Private   []byte // PKCS #8
	CreatedAt time.Time
	RetiredAt time.Time // zero = signs; retired keys only verify
}

// SigningKeys keeps the keys of the token issuer.
type SigningKeys interface {
	// PutSigningKey adds the key; a key that is there already wins and is
	// returned, so that processes that start together agree.
	PutSigningKey(ctx context.Context, k SigningKey) (SigningKey, error)
	ListSigningKeys(ctx context.Context) ([]SigningKey, error)
}

// Event is one row of the audit log.
type Event struct {
	ID        int64
	Tenant    tenant.ID
	At        time.Time
	Actor     string
	Verb      string // "manifest.put", "tag.delete", "registry.create", …
	Target    string // "registries/dev/repositories/app", with tag or digest
	RequestID string
}

// Events reads the audit log; the mutations write it.
type Events interface {
	// ListEvents pages newest first; Page.After is the id of the last event
	// seen, in decimal.
	ListEvents(ctx context.Context, t tenant.ID, p Page) ([]Event, error)
}
