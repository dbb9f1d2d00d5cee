package meta

import "github.com/berth-registry/berth/pkg/access"

// SigningKeys keeps the keys of the token issuer. What only verifies asks for
// access.KeyStore, which holds no secret.
type SigningKeys interface {
	access.KeyStore
	access.SigningKeyStore
}
