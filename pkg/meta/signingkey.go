package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
)

// SigningKeys keeps the keys of the token issuer; it is an access.KeyStore.
type SigningKeys interface {
	// PutSigningKey adds the key; a key that is there already under its id wins
	// and is returned, so that processes that start together agree.
	PutSigningKey(ctx context.Context, k access.SigningKey) (access.SigningKey, error)
	ListSigningKeys(ctx context.Context) ([]access.SigningKey, error)
}
