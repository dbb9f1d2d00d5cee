package access

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Issuer signs tokens. Safe for concurrent use.
type Issuer struct {
	keys *Keys
	name string
}

// NewIssuer makes an Issuer that calls itself name in the iss claim; the
// Verifier must be given the same.
func NewIssuer(keys *Keys, name string) *Issuer { return &Issuer{keys: keys, name: name} }

// Token is a signed token.
type Token struct {
	Raw      string
	IssuedAt time.Time
	Life     time.Duration
}

// Issue signs what p is allowed of the scopes at the site, for its host alone.
// Scopes whose names make the token longer than MaxToken are
// fault.RequestInvalid.
func (i *Issuer) Issue(s tenant.Site, p Principal, scopes []Scope) (Token, error) {
	key := i.keys.current.Load().signs
	now := i.keys.now()
	raw, err := key.token(&payload{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    i.name,
			Subject:   p.Name,
			Audience:  jwt.ClaimStrings{s.Host},
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(TokenTTL)),
			ID:        uuid.NewString(),
		},
		Use:    useRegistry,
		Tenant: s.Tenant,
		Epoch:  s.Epoch,
		Role:   p.Role,
		Access: decide(s, p, scopes),
	}).SignedString(key.private)
	if err != nil {
		return Token{}, fault.Wrap(err, fault.Internal, fault.InternalReason, "the token could not be signed")
	}
	if len(raw) > MaxToken {
		return Token{}, fault.New(fault.Invalid, fault.RequestInvalid, "one token cannot carry that many scopes, ask for fewer").WithField("scope")
	}
	return Token{Raw: raw, IssuedAt: now, Life: TokenTTL}, nil
}
