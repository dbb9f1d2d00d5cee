package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
)

// SigningKeys keeps the keys of the token issuer. Verifiers use access.KeyStore,
// which has no secrets.
type SigningKeys interface {
	VerifyKeys
	access.SigningKeyStore
}

// VerifyKeys keeps what needs no secrets of them.
type VerifyKeys interface {
	access.KeyStore
	// ReplaceSigningKeys makes the present keys due: those who sign replace them, as they do
	// when a key's life is over. The event is in the log of the deployment.
	ReplaceSigningKeys(ctx context.Context, by Cause) error
}
