package workload

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	maxToken = 16 << 10 // bytes
	// Leeway is how far the clocks of issuers may be off.
	Leeway = 30 * time.Second
)

// algorithms are those of keys that an issuer can publish: "none" and the ones with a shared
// secret are not among them.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// IsToken reports whether a secret has the form of a signed token (RFC 7519). Such a secret is
// never compared with a password. Of what is longer than a token may be, too.
func IsToken(secret string) bool {
	header, rest, ok := strings.Cut(secret, ".")
	if !ok || !strings.HasPrefix(header, "eyJ") || strings.Count(rest, ".") != 1 {
		return false
	}
	for _, part := range strings.Split(secret, ".") {
		if _, err := base64.RawURLEncoding.DecodeString(part); err != nil {
			return false
		}
	}
	return true
}

// token is one that was read, and not verified.
type token struct {
	signed *jwt.JSONWebToken
	issuer string
	kid    string
	alg    string
}

// parse reads a token. What it says is not verified.
func parse(raw string) (token, error) {
	if len(raw) > maxToken {
		return token{}, fmt.Errorf("%d bytes are more than a token has", len(raw))
	}
	signed, err := jwt.ParseSigned(raw, algorithms)
	if err != nil {
		return token{}, err
	}
	if len(signed.Headers) != 1 {
		return token{}, errors.New("it has not exactly one signature")
	}
	var said struct {
		Issuer string `json:"iss"`
	}
	if err := signed.UnsafeClaimsWithoutVerification(&said); err != nil {
		return token{}, err
	}
	if said.Issuer == "" {
		return token{}, errors.New("it names no issuer")
	}
	return token{signed: signed, issuer: said.Issuer, kid: signed.Headers[0].KeyID, alg: signed.Headers[0].Algorithm}, nil
}

// claims are those of a token that was verified.
type claims struct {
	jwt.Claims

	all map[string]any
}

// verify checks the signature and the times.
func (t token) verify(key jose.JSONWebKey, now time.Time) (claims, error) {
	if key.Algorithm != "" && key.Algorithm != t.alg {
		return claims{}, fmt.Errorf("the key is for %s, and the token signed by %s", key.Algorithm, t.alg)
	}
	var c claims
	if err := t.signed.Claims(key.Key, &c.Claims, &c.all); err != nil {
		return claims{}, err
	}
	if c.Expiry == nil {
		return claims{}, errors.New("it never expires")
	}
	return c, c.ValidateWithLeeway(jwt.Expected{Issuer: t.issuer, Time: now}, Leeway)
}
