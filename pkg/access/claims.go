package access

import (
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berth-registry/berth/pkg/tenant"
)

// Claims are the contents of a verified token.
type Claims struct {
	Principal Principal // as it was when the token was issued
	Grants    Grants
	ExpiresAt time.Time
}

// Requested returns the actions on the resource that the token was asked to carry,
// granted or not.
func (c Claims) Requested(resource Scope) Actions { return c.find(resource).Requested }

// Allowed returns the granted actions that the caller still has.
func (c Claims) Allowed(r *Rights, resource Scope) Actions {
	granted := c.find(resource).Actions
	if granted == 0 {
		return 0
	}
	return granted & r.On(resource)
}

func (c Claims) find(resource Scope) Grant {
	for _, g := range c.Grants {
		if g.Type == resource.Type && g.Name == resource.Name {
			return g
		}
	}
	return Grant{}
}

// TokenTTL is the life of a token: how long a right outlives its removal.
const TokenTTL = 5 * time.Minute

// leeway is the tolerated clock skew between issuer and verifier.
const leeway = 30 * time.Second

// MaxToken is the most bytes a token has; longer ones are refused unread. Issued
// are somewhat shorter ones, which fit with the header's name in the 8 KiB that
// proxies often have for a header. Only requests for hundreds of names take more than 4 KiB:
// some clients never ask again for a scope that they asked for once (contract row Q16).
const (
	MaxToken  = 8 << 10
	maxIssued = 8000
)

// useRegistry is the purpose of this package's tokens. Tokens for another purpose
// under the same keys name another one.
const useRegistry = "registry"

// payload is the second segment of a token.
type payload struct {
	jwt.RegisteredClaims

	Use    string    `json:"use"`
	Tenant tenant.ID `json:"tid"` // never reused, unlike the name in aud
	Epoch  int64     `json:"epoch"`
	Role   Role      `json:"role,omitempty"`

	// Versions before do not write these, and ignore them.
	Account      int64  `json:"acc,omitempty"`
	AccountEpoch int64  `json:"acc_epoch,omitempty"`
	Key          string `json:"key,omitempty"`

	Access Grants `json:"access"`
}

func (p *payload) claims() Claims {
	return Claims{
		Principal: Principal{Name: p.Subject, ID: p.Account, Tenant: p.Tenant, Role: p.Role, Epoch: p.AccountEpoch, Key: p.Key},
		Grants:    p.Access,
		ExpiresAt: p.ExpiresAt.Time,
	}
}
