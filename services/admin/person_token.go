package admin

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
)

// personTokens are the tokens for all tenants of the person who calls.
func (s *Service) personTokens() accountKeys {
	c := s.accessTokens()
	c.prefix = password.PersonPrefix
	c.find = func(ctx context.Context, field, name string) (keyOwner, error) {
		_, a, err := s.users().find(ctx, field, name)
		if err != nil {
			return keyOwner{}, err
		}
		p, err := s.callersPerson(ctx, a)
		if err == nil && p.Provider == 0 {
			err = invalid("access_token.all_tenants", "people of an identity provider of the operator make such tokens for themselves, in a session that began with their password there")
		}
		return keyOwner{
			right: "a person, for all tenants",
			list:  func(ctx context.Context) ([]meta.AccountKey, error) { return s.store.ListPersonTokens(ctx, p) },
			create: func(ctx context.Context, by meta.Cause, k meta.AccountKey) (meta.AccountKey, error) {
				return s.store.CreatePersonToken(ctx, by, p, k)
			},
		}, err
	}
	return c
}

// tokenOwner is the user whose access tokens a call is about. To a person who calls it also shows
// those for all tenants.
func (s *Service) tokenOwner(ctx context.Context, field, name string) (keyOwner, error) {
	_, a, err := s.users().find(ctx, field, name)
	if err != nil {
		return keyOwner{}, err
	}
	own := s.keysOf(a)
	p, err := s.callersPerson(ctx, a)
	if err != nil || p.Provider == 0 {
		return own, err
	}
	both := own
	both.list = func(ctx context.Context) ([]meta.AccountKey, error) {
		keys, err := own.list(ctx)
		if err != nil {
			return nil, err
		}
		everywhere, err := s.store.ListPersonTokens(ctx, p)
		keys = append(keys, everywhere...)
		slices.SortFunc(keys, func(a, b meta.AccountKey) int { return strings.Compare(a.Name, b.Name) })
		return keys, err
	}
	both.delete = func(ctx context.Context, by meta.Cause, key string) error {
		err := s.store.DeletePersonToken(ctx, by, p, key)
		if fault.Is(err, fault.ResourceUnknown) {
			err = own.delete(ctx, by, key)
		}
		return err
	}
	return both, nil
}

// callersPerson is the person of an operator's provider that the account stands for, if the person
// calls; else the zero value. Only a session that began with the password shows that: an access
// token of the account, which administrators of the tenant may make, must not lead to other
// tenants; nor does an account with a password here, which somebody else may know.
func (s *Service) callersPerson(ctx context.Context, a meta.Account) (meta.Person, error) {
	c := callerOf(ctx)
	if c.session == "" || c.principal.Key != "" || c.principal.ID != a.ID || c.principal.Tenant != a.Tenant || a.Kind != access.UserKind || a.Password != "" {
		return meta.Person{}, nil
	}
	p, err := s.store.FindPerson(ctx, a.Tenant, a.Slug)
	if err != nil || p.Provider <= 0 || p.ID != a.ID {
		return meta.Person{}, err
	}
	provider, err := s.store.FindIdentityProviderByID(ctx, p.Provider)
	if err != nil || provider.Tenant != meta.Deployment {
		return meta.Person{}, err
	}
	return p, nil
}
