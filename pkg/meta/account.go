package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Account is a service account or a user of a tenant. No two accounts of a tenant, of
// whatever kind, have the same slug.
type Account struct {
	ID          int64
	Tenant      tenant.ID
	Kind        access.Kind
	Slug        string
	DisplayName string
	Role        access.Role
	Disabled    bool
	Password    string // of a user, hashed with argon2id, in PHC form; empty = none
	Epoch       int64  // grows when tokens issued for the account before must not count any more
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Principal is the account as the caller of a request.
func (a Account) Principal() access.Principal {
	p := access.AccountPrincipal(a.Kind, a.Tenant, a.ID, a.Slug, a.Role)
	p.Epoch = a.Epoch
	return p
}

// AccountKey is one secret of an account: a key of a service account or an access token of
// a user. Only its SHA-256 is kept.
type AccountKey struct {
	Name      string // generated; unique in the account
	Hash      [32]byte
	Note      string // what it is for
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
	UsedAt    time.Time // exact to a minute; zero = not known
	UsedFrom  string    // the address it was used from last

	AllTenants bool // it is one of PersonTokens
}

// Login is an account that was found by a secret.
type Login struct {
	Account
	Key string // the name of the key that has the secret; empty where none has
}

// Principal is the account, and the key, as the caller of a request.
func (l Login) Principal() access.Principal {
	p := l.Account.Principal()
	p.Key = l.Key
	return p
}

// Accounts keeps service accounts, users and their keys; absence is
// fault.ResourceUnknown, also of an account of another kind.
type Accounts interface {
	AccountRecords
	AccountKeys
	AccountFinder
	Passwords
	KeyUses
	Trusts
	RefreshTokens
	Revocations
}

// AccountRecords keeps accounts.
type AccountRecords interface {
	CreateAccount(ctx context.Context, by Cause, a Account) (Account, error)
	FindAccount(ctx context.Context, t tenant.ID, k access.Kind, slug string) (Account, error)
	// ListAccounts pages by slug.
	ListAccounts(ctx context.Context, t tenant.ID, k access.Kind, p Page) ([]Account, error)
	// UpdateAccount changes DisplayName, Role, Disabled and Password; Version as in
	// UpdateTenant. A change of role or password, or disabling, revokes the tokens that
	// were issued for the account. A change of password ends the refresh tokens that a
	// password got, and the sessions but for Cause.Session; disabling ends all.
	UpdateAccount(ctx context.Context, by Cause, a Account) (Account, error)
	// RevokeTokens revokes all tokens that were issued for the account, and ends its refresh
	// tokens and sessions. Keys and password stay. What an identity provider said of the
	// account's groups ends, until it is read again.
	RevokeTokens(ctx context.Context, by Cause, t tenant.ID, k access.Kind, slug string) error
	// DeleteAccount removes the account with its keys, and revokes its tokens.
	DeleteAccount(ctx context.Context, by Cause, t tenant.ID, k access.Kind, slug string, version int64) error
}

// AccountKeys keeps the keys of accounts.
type AccountKeys interface {
	CreateAccountKey(ctx context.Context, by Cause, t tenant.ID, k access.Kind, slug string, key AccountKey) (AccountKey, error)
	ListAccountKeys(ctx context.Context, t tenant.ID, k access.Kind, slug string) ([]AccountKey, error)
	// DeleteAccountKey removes a key, and revokes the tokens that were issued for it.
	DeleteAccountKey(ctx context.Context, by Cause, t tenant.ID, k access.Kind, slug, name string) error
}

// AccountFinder finds accounts by their secrets.
type AccountFinder interface {
	// FindAccountByKey finds the enabled account, of an active tenant, that holds an
	// unexpired key with this hash, in one statement; slug may be empty for callers
	// that only have the secret; so may t be 0. Otherwise it returns
	// fault.ResourceUnknown, at the same cost.
	FindAccountByKey(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (Login, error)
	// FindLogin finds the enabled account, of an active tenant, that has this slug, in one
	// statement, with the name of its unexpired key that has this hash; without a name if
	// it has none. Otherwise it returns fault.ResourceUnknown.
	FindLogin(ctx context.Context, t tenant.ID, slug string, hash [32]byte) (Login, error)
}

// Passwords renews hashes of passwords.
type Passwords interface {
	// RehashPassword replaces a hash of the same password, if it is still there. It is no
	// change of the account: it has no event, and revokes nothing.
	RehashPassword(ctx context.Context, t tenant.ID, account int64, old, renewed string) error
}

// KeyUse is the last use of a key or trust of an account, or of a token of an operator.
type KeyUse struct {
	Tenant  tenant.ID // Deployment for an operator
	Account int64
	Key     string // as access.Principal has it
	At      time.Time
	Address string // of the client; empty where it is not known
}

// KeyUses keeps when keys were used last.
type KeyUses interface {
	// RecordKeyUses keeps the uses that are later than what is known, in one statement.
	// Keys that were deleted meanwhile are left out.
	RecordKeyUses(ctx context.Context, uses []KeyUse) error
}

// Revocations says which tokens count no more. Each is written with the change that caused
// it.
type Revocations interface {
	// ListRevocations returns the revocations younger than age, the newest first, and no more
	// than most. Of an account and a key there is at most one.
	ListRevocations(ctx context.Context, age time.Duration, most int) ([]access.Revocation, error)
}
