// Package cosign verifies signatures of manifests by public keys, in the forms in which
// cosign stores them: simple signing payloads and Sigstore bundles. It reads no registry.
// Certificates (Fulcio) and transparency logs (Rekor) are not looked at.
package cosign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Limits of a public key.
const (
	MaxKey     = 4 << 10 // bytes of PEM
	minRSABits = 2048
	maxRSABits = 8192
)

// Key is a public key that signatures are verified with: ECDSA P-256 or P-384, Ed25519, or
// RSA.
type Key struct{ public crypto.PublicKey }

// ParseKey reads a public key in PEM, as cosign writes it to cosign.pub. The error says
// what the text is instead, and never repeats it: it may be a private key.
func ParseKey(text string) (Key, error) {
	if len(text) > MaxKey {
		return Key{}, fmt.Errorf("it has more than %d bytes", MaxKey)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return Key{}, errors.New("it is not PEM")
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return Key{}, errors.New("it is a private key, which must stay with its owner: replace it if it is in use")
	case block.Type != "PUBLIC KEY":
		return Key{}, errors.New("its PEM block is of another type")
	case strings.TrimSpace(string(rest)) != "" || !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN"):
		return Key{}, errors.New("it has more than one PEM block, or text besides it")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, errors.New("its PEM block has no public key that can be read")
	}
	return Key{public}, checkKind(public)
}

func checkKind(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return errors.New("it is an ECDSA key of another curve")
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("it is an RSA key of %d bits", bits)
		}
		return nil
	default:
		return errors.New("it is of another kind")
	}
}

// verifies reports whether signature is one of the message by the key. Signers choose the
// hash by the kind of the key, or use SHA-256 for all of them, as cosign did first; for
// Ed25519 some sign a hash of the message (RFC 8032, Ed25519ph).
func (k Key) verifies(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(public, sum[:], signature) {
			return true
		}
		if public.Curve != elliptic.P384() {
			return false
		}
		long := sha512.Sum384(message)
		return ecdsa.VerifyASN1(public, long[:], signature)
	case ed25519.PublicKey:
		long := sha512.Sum512(message)
		return ed25519.Verify(public, message, signature) ||
			ed25519.VerifyWithOptions(public, long[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
	default:
		return false
	}
}
