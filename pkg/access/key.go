package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// EdDSA is the one algorithm tokens are signed with (RFC 8037, Ed25519).
const EdDSA = "EdDSA"

// VerifyKey is the public part of a key, which verifies the tokens that it signs.
type VerifyKey struct {
	ID        string    // kid: ^[A-Za-z0-9_-]{1,64}$
	Algorithm string    // EdDSA
	Public    []byte    // PKIX
	CreatedAt time.Time // it is published since then
	SignsFrom time.Time // every process has read it by then
	RetiredAt time.Time // it signs nothing after that; zero = no end is set
}

// expired says whether every token that the key signed has expired.
func (k *VerifyKey) expired(now time.Time) bool {
	return !k.RetiredAt.IsZero() && now.After(k.RetiredAt.Add(TokenTTL+2*leeway))
}

// SigningKey is a key that signs tokens, as it is stored.
type SigningKey struct {
	VerifyKey
	Sealed []byte // PKCS #8, sealed with the deployment's secret key; empty while a version before has it open
}

// String leaves the sealed key out of logs and dumps.
func (k SigningKey) String() string { return "signing key " + k.ID }

// GoString is String.
func (k SigningKey) GoString() string { return k.String() }

// OpenSigningKey is an unsealed key of an older version.
type OpenSigningKey struct {
	ID, Algorithm        string
	Private              []byte // PKCS #8
	CreatedAt, RetiredAt time.Time
}

// String leaves the private part out of logs and dumps.
func (k OpenSigningKey) String() string { return "open signing key " + k.ID }

// GoString is String.
func (k OpenSigningKey) GoString() string { return k.String() }

// Publish is the half that verifies.
func (k OpenSigningKey) Publish() (VerifyKey, error) {
	private, err := parsePrivate(k.ID, k.Private)
	if err != nil {
		return VerifyKey{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return VerifyKey{}, fmt.Errorf("signing key %q: %w", k.ID, err)
	}
	return VerifyKey{ID: k.ID, Algorithm: k.Algorithm, Public: public, CreatedAt: k.CreatedAt, SignsFrom: k.CreatedAt, RetiredAt: k.RetiredAt}, nil
}

// newKey makes a random key and returns its private part, PKCS #8. Its id is the
// minute: processes that make one at the same time make the same id, and the
// store lets one of them win.
func newKey(now time.Time) (VerifyKey, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return VerifyKey{}, nil, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return VerifyKey{}, nil, fmt.Errorf("encode a signing key: %w", err)
	}
	k, err := OpenSigningKey{ID: now.UTC().Format("20060102T1504"), Algorithm: EdDSA, Private: der, CreatedAt: now}.Publish()
	return k, der, err
}

var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// verifier is a VerifyKey ready for use.
type verifier struct {
	VerifyKey
	public ed25519.PublicKey
	header string // the first segment of every token the key signs
}

func openVerifier(k VerifyKey) (*verifier, error) {
	if !keyID.MatchString(k.ID) || k.Algorithm != EdDSA {
		return nil, fmt.Errorf("signing key %q with algorithm %q is not supported by this version", k.ID, k.Algorithm)
	}
	parsed, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("signing key %q: %w", k.ID, err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("signing key %q is not an Ed25519 key", k.ID)
	}
	unsigned, err := unsignedToken(k.ID, jwt.RegisteredClaims{}).SigningString()
	if err != nil {
		return nil, fmt.Errorf("signing key %q: %w", k.ID, err)
	}
	header, _, _ := strings.Cut(unsigned, ".")
	return &verifier{VerifyKey: k, public: public, header: header}, nil
}

// signer is a SigningKey with its unsealed private part, in memory only.
type signer struct {
	VerifyKey
	private ed25519.PrivateKey
}

func (k *signer) sign(c jwt.Claims) (string, error) {
	return unsignedToken(k.ID, c).SignedString(k.private)
}

func unsignedToken(id string, c jwt.Claims) *jwt.Token {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = id
	return t
}

// parsePrivate names only the key's id in its errors.
func parsePrivate(id string, der []byte) (ed25519.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("signing key %q is not a PKCS #8 key", id)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing key %q is not an Ed25519 key", id)
	}
	return private, nil
}
