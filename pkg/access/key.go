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

// SigningKey is a key that signs tokens, as it is kept. Its private part must
// never be logged.
type SigningKey struct {
	ID        string // kid: ^[A-Za-z0-9_-]{1,64}$
	Algorithm string // EdDSA
	Private   []byte // PKCS #8
	CreatedAt time.Time
	RetiredAt time.Time // zero = signs; retired keys only verify
}

// newSigningKey makes a random key. Its id is the day: processes that make one
// at the same time make the same id, and the store lets one of them win.
func newSigningKey(now time.Time) (SigningKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return SigningKey{}, fmt.Errorf("encode a signing key: %w", err)
	}
	return SigningKey{ID: now.UTC().Format("20060102"), Algorithm: EdDSA, Private: der, CreatedAt: now}, nil
}

// key is a SigningKey ready for use.
type key struct {
	SigningKey
	private ed25519.PrivateKey
	header  string // the first segment of every token it signs
}

var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func openKey(s SigningKey) (*key, error) {
	if !keyID.MatchString(s.ID) || s.Algorithm != EdDSA {
		return nil, fmt.Errorf("signing key %q with algorithm %q is not for this version", s.ID, s.Algorithm)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(s.Private)
	if err != nil {
		return nil, fmt.Errorf("signing key %q: %w", s.ID, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing key %q is no Ed25519 key", s.ID)
	}
	k := &key{SigningKey: s, private: private}
	unsigned, err := k.token(jwt.RegisteredClaims{}).SigningString()
	if err != nil {
		return nil, fmt.Errorf("signing key %q: %w", s.ID, err)
	}
	k.header, _, _ = strings.Cut(unsigned, ".")
	return k, nil
}

func (k *key) token(c jwt.Claims) *jwt.Token {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = k.ID
	return t
}

func (k *key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }
