package access

import (
	"sort"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
)

// Issuer signs tokens. Safe for concurrent use.
type Issuer struct {
	signer *Signer
	keys   *Keys
	name   string
}

// NewIssuer makes an Issuer with this name in the iss claim; the
// Verifier must be given the same. keys are what it publishes.
func NewIssuer(signer *Signer, keys *Keys, name string) *Issuer {
	return &Issuer{signer: signer, keys: keys, name: name}
}

// Token is a signed token.
type Token struct {
	Raw      string
	IssuedAt time.Time
	Life     time.Duration
	Granted  []Scope // what it grants
}

// Issue signs the scopes that the caller is allowed at the site, for its host alone. If they
// do not fit, the token carries the last ones, and a client that needs another one has to
// request it.
func (i *Issuer) Issue(r *Rights, scopes []Scope) (Token, error) {
	key, err := i.signer.signs()
	if err != nil {
		return Token{}, err
	}
	s, p, now := r.site, r.Principal, i.signer.now()
	said := payload{
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

		Account: p.ID, AccountEpoch: p.Epoch, Key: p.Key,

		Access: decide(r, scopes),
	}
	raw, err := key.sign(&said)
	if err == nil && len(raw) > maxIssued {
		all := said.Access
		fewest := sort.Search(len(all), func(n int) bool {
			said.Access = all[n:]
			raw, err = key.sign(&said)
			return err != nil || len(raw) <= maxIssued
		})
		said.Access = all[fewest:]
		raw, err = key.sign(&said)
	}
	if err != nil {
		return Token{}, fault.Wrap(err, fault.Internal, fault.InternalReason, "the token could not be signed")
	}
	return Token{Raw: raw, IssuedAt: now, Life: TokenTTL, Granted: said.Access.Granted()}, nil
}
