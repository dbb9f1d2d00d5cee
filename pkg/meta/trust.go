package meta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Trust lets jobs log in as a service account, by tokens that an issuer signs. It does not
// change.
type Trust struct {
	Name      string // chosen; unique in the account
	Issuer    string // the URL that is the claim "iss"
	Audiences []string
	Condition string // in CEL
	Note      string // what it is for
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
	UsedAt    time.Time // exact to a minute; zero = not known
	UsedFrom  string    // the address it was used from last
}

// TrustedAccount is an account with a trust that it has.
type TrustedAccount struct {
	Account
	Trust
}

// Principal is the account, and the trust, as the caller of a request.
func (a TrustedAccount) Principal() access.Principal {
	p := a.Account.Principal()
	p.Key = access.TrustKey(a.Trust.Name)
	return p
}

// Trusts keeps the trusts of service accounts; absence is fault.ResourceUnknown.
type Trusts interface {
	TrustFinder
	CreateTrust(ctx context.Context, by Cause, t tenant.ID, account string, made Trust) (Trust, error)
	// ListTrusts lists by name.
	ListTrusts(ctx context.Context, t tenant.ID, account string) ([]Trust, error)
	// DeleteTrust removes a trust, and revokes the tokens that were issued by it.
	DeleteTrust(ctx context.Context, by Cause, t tenant.ID, account, name string) error
}

// TrustFinder finds the trusts that a login may use.
type TrustFinder interface {
	// FindTrusts finds the unexpired trusts in an issuer of the enabled service account, of an
	// active tenant, that has this slug, in one statement; none of any other account.
	// Audiences, Condition and Name of each are set.
	FindTrusts(ctx context.Context, t tenant.ID, account, issuer string) ([]TrustedAccount, error)
}
