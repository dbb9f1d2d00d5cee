package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// RefreshToken gets tokens for an account as its secret does, until it expires or is ended.
// Only its SHA-256 is kept.
type RefreshToken struct {
	Name         string // generated; unique in the account
	Hash         [32]byte
	Key          string // the name of the key that it was got with, and ends with; empty = a password
	Seed         []byte // of one that was got with a key, from which the key's secret makes the token again
	Client       string // the client's name for itself
	CreatedAt    time.Time
	CreatedFrom  string // the client's address
	LastUsedAt   time.Time
	LastUsedFrom string
	ExpiresAt    time.Time
}

// MaxRefreshTokens is how many refresh tokens an account has. When there are more, the one
// that was used least recently ends.
const MaxRefreshTokens = 100

// RefreshTokenUse is how exact LastUsedAt is.
const RefreshTokenUse = time.Minute

// RefreshTokens keeps refresh tokens. Those of a password end when it changes, all end when
// the account is disabled or its tokens are revoked; absence is fault.ResourceUnknown.
type RefreshTokens interface {
	// CreateRefreshToken keeps a token, which expires after life, for an account that was
	// found by a secret, unless tokens of the account were revoked since.
	CreateRefreshToken(ctx context.Context, p access.Principal, r RefreshToken, life time.Duration) error
	// FindRefreshTokenOfKey finds the newest token that this client got with the key.
	FindRefreshTokenOfKey(ctx context.Context, p access.Principal, client string) (RefreshToken, error)
	// FindAccountByRefreshToken finds the enabled account, of an active tenant, that has a
	// token with this hash whose key still counts; one of a password, if passwords do.
	FindAccountByRefreshToken(ctx context.Context, t tenant.ID, hash [32]byte) (Login, RefreshToken, error)
	// UseRefreshToken notes that a token was used, which lasts for life again. A use within
	// RefreshTokenUse after the last one changes nothing.
	UseRefreshToken(ctx context.Context, p access.Principal, name, address string, life time.Duration) error

	ListRefreshTokens(ctx context.Context, t tenant.ID, k access.Kind, slug string) ([]RefreshToken, error)
	DeleteRefreshToken(ctx context.Context, by Cause, t tenant.ID, k access.Kind, slug, name string) error
}
