package meta

import (
	"context"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/tenant"
)

// PersonLogin is a person that was found by a token of PersonTokens.
type PersonLogin struct {
	Person // the account in the tenant; its ID is 0 where the person has none yet

	Token string // its name
}

// Principal is the account as the caller of a request.
func (l PersonLogin) Principal() access.Principal {
	p := l.Person.Principal()
	p.Key = access.PersonTokenKey(l.Token)
	return p
}

// PersonTokens keeps access tokens of people of the operator's providers. One belongs to the
// person, and counts in every tenant that the provider is offered to. All end with EndPerson of
// any account of the person, and with the provider; absence is fault.ResourceUnknown.
type PersonTokens interface {
	// CreatePersonToken keeps a token of the person that the account stands for.
	CreatePersonToken(ctx context.Context, by Cause, p Person, key AccountKey) (AccountKey, error)
	ListPersonTokens(ctx context.Context, p Person) ([]AccountKey, error)
	// DeletePersonToken removes a token, and revokes what was issued for the person's accounts,
	// in all tenants. The event is in the log of the tenant of p alone.
	DeletePersonToken(ctx context.Context, by Cause, p Person, name string) error
	// FindPersonByToken finds the person that has an unexpired token with this hash, and the
	// account in an active tenant, also a disabled one, in one statement. Whether the provider is
	// offered to the tenant, the caller decides.
	FindPersonByToken(ctx context.Context, t tenant.ID, hash [32]byte) (PersonLogin, error)
	// AccountsOfPerson returns the accounts of a person in all tenants, up to 1,000, with what
	// EndPerson needs.
	AccountsOfPerson(ctx context.Context, provider int64, subject string) ([]Person, error)
}
