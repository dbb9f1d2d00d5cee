package meta

import "github.com/berth-registry/berth/pkg/access"

// SigningKeys keeps the keys of the token issuer. What only verifies asks for
// VerifyKeys, which holds nothing that must not be known.
type SigningKeys interface {
	access.KeyStore
	access.SigningKeyStore
}
