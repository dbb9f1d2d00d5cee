package token

import (
	"crypto/hmac"
	"crypto/sha256"
)

// hash hides secrets in memory: passwords have too little chance for a plain hash.
func (a *Authenticator) hash(secret string) [sha256.Size]byte {
	h := hmac.New(sha256.New, a.key[:])
	_, _ = h.Write([]byte(secret)) // never fails: hash.Hash
	return [sha256.Size]byte(h.Sum(nil))
}
