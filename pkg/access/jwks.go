package access

import "encoding/base64"

// JWKS is a JSON Web Key Set (RFC 7517 section 5).
type JWKS struct {
	Keys []JWK `json:"keys"`
}

// JWK is the public half of a signing key (RFC 8037 section 2).
type JWK struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	X         string `json:"x"`
}

// JWKS lists the public halves of all keys that verify, newest first.
func (i *Issuer) JWKS() JWKS {
	ordered, now := i.keys.current.Load().ordered, i.keys.now()
	set := JWKS{Keys: make([]JWK, 0, len(ordered))}
	for _, key := range ordered {
		if key.expired(now) {
			continue
		}
		set.Keys = append(set.Keys, JWK{
			Type: "OKP", Curve: "Ed25519", Use: "sig", Algorithm: EdDSA, ID: key.ID,
			X: base64.RawURLEncoding.EncodeToString(key.public),
		})
	}
	return set
}
