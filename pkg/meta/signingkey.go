package meta

import "github.com/berth-registry/berth/pkg/access"

// SigningKeys keeps the keys of the token issuer. Verifiers use access.KeyStore,
// which has no secrets.
type SigningKeys interface {
	access.KeyStore
	access.SigningKeyStore
}
