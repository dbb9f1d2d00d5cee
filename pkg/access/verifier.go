package access

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Tokens whose signature was found good are remembered; long ones are not, so
// that the memory stays small.
const (
	rememberedTokens = 8192
	rememberedLength = 2 << 10
	rememberedGrants = 50
)

// Verifier checks tokens. Safe for concurrent use.
type Verifier struct {
	keys      *Keys
	revoked   *Revocations // nil: none
	validator *jwt.Validator
	genuine   *lru.Cache[[sha256.Size]byte, *payload]
}

// NewVerifier makes a Verifier of the tokens that the Issuer of this name
// signs.
func NewVerifier(keys *Keys, issuer string) *Verifier {
	genuine, err := lru.New[[sha256.Size]byte, *payload](rememberedTokens)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Verifier{
		keys: keys,
		validator: jwt.NewValidator(
			jwt.WithIssuer(issuer), jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(),
			jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return keys.now() }),
		),
		genuine: genuine,
	}
}

// WithRevocations has the Verifier refuse tokens that were revoked.
func (v *Verifier) WithRevocations(r *Revocations) *Verifier {
	v.revoked = r
	return v
}

// Verify returns the claims of a token that is valid at this site now: signed by
// a key of this deployment, for this host and this tenant, issued since the tenant's
// tokens last died, within its time, and not revoked. Anything else is
// fault.UnauthorizedReason, always with the same message. It does no I/O except for
// a token by an unknown key, which may be one that was just made; where that
// cannot be read, or the revocations could not be for too long, it is
// fault.UnavailableReason.
func (v *Verifier) Verify(raw string, s tenant.Site) (Claims, error) {
	p, err := v.authentic(raw)
	if err == nil {
		err = v.check(p, s)
	}
	if err != nil && fault.KindOf(err) == fault.Unavailable {
		return Claims{}, err
	}
	if err != nil {
		return Claims{}, fault.Wrap(err, fault.Unauthenticated, fault.UnauthorizedReason, "the token is not valid here; request a new one")
	}
	return p.claims(), nil
}

// check is made on every request, also for a remembered token.
func (v *Verifier) check(p *payload, s tenant.Site) error {
	switch {
	case p.Use != useRegistry:
		return fmt.Errorf("the token is for use %q", p.Use)
	case len(p.Audience) != 1 || p.Audience[0] != s.Host:
		return fmt.Errorf("the token is for host %q", p.Audience)
	case p.Tenant != s.Tenant:
		return fmt.Errorf("the token is for tenant %d", p.Tenant)
	case p.Epoch < s.Epoch:
		return fmt.Errorf("the token is of epoch %d", p.Epoch)
	}
	if err := v.validator.Validate(p); err != nil {
		return err
	}
	// No issuer of this deployment issues longer ones: a key that signs them is stolen.
	if p.IssuedAt == nil || p.ExpiresAt.Sub(p.IssuedAt.Time) > TokenTTL {
		return errors.New("the token does not say when it was issued, or is valid for too long")
	}
	return v.revoked.check(p)
}

var errForged = errors.New("the token is not signed by a key of this deployment")

// authentic checks the signature and reads the payload. The token is decoded only after its
// signature was verified: its first segment must equal the header of a known key, so that
// one with anything else (another algorithm, a key of its own, crit) finds no key.
func (v *Verifier) authentic(raw string) (*payload, error) {
	if len(raw) > MaxToken {
		return nil, fmt.Errorf("the token has %d bytes", len(raw))
	}
	sum := sha256.Sum256([]byte(raw))
	if p, ok := v.genuine.Get(sum); ok {
		return p, nil
	}
	header, rest, _ := strings.Cut(raw, ".")
	body, signature, _ := strings.Cut(rest, ".")
	key, err := v.keys.find(header)
	if err != nil {
		return nil, err
	}
	if len(signature) != base64.RawURLEncoding.EncodedLen(ed25519.SignatureSize) {
		return nil, errForged
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return nil, errForged
	}
	signed := raw[:len(header)+1+len(body)]
	if err := jwt.SigningMethodEdDSA.Verify(signed, sig, key.public); err != nil {
		return nil, fmt.Errorf("%w: %w", errForged, err)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("decode the payload: %w", err)
	}
	p := new(payload)
	if err := json.Unmarshal(decoded, p); err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	if len(raw) <= rememberedLength && len(p.Access) <= rememberedGrants {
		v.genuine.Add(sum, p)
	}
	return p, nil
}
