package people

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
)

// byToken logs in a person by an access token that counts in all tenants. A person without an
// account here gets one, as at a first login, by what the provider says now. Only then the provider
// is asked: else the token counts while it is down, as access tokens do.
func (p *People) byToken(ctx context.Context, a login.Attempt) (login.Identity, error) {
	if a.Host == "" { // it is for registries alone
		return login.Identity{}, login.ErrUnknown()
	}
	hash := sha256.Sum256([]byte(a.Secret))
	found, err := p.store.FindPersonByToken(ctx, a.Tenant, hash)
	if err != nil {
		return login.Identity{}, unknownOr(err)
	}
	provider, err := p.offered(ctx, a, found.Provider)
	switch {
	case err != nil:
		return login.Identity{}, err
	case !strings.EqualFold(a.Name, found.LoginName) && a.Name != found.Slug:
		return login.Identity{}, login.ErrUnknown()
	case found.ID == 0:
		if err := p.firstByToken(ctx, provider, found.Person); err != nil {
			return login.Identity{}, unknownOr(err)
		}
		if found, err = p.store.FindPersonByToken(ctx, a.Tenant, hash); err != nil { // it may have been deleted meanwhile
			return login.Identity{}, unknownOr(err)
		}
	}
	if found.ID == 0 || found.Disabled {
		return login.Identity{}, login.ErrUnknown()
	}
	principal := found.Principal()
	return login.Identity{Provider: Provider, Subject: provider.Name() + "/" + found.Subject, Principal: principal, Key: principal.Key}, nil
}

// offered returns the operator's provider with this ID, if people of the tenant may log in by it.
func (p *People) offered(ctx context.Context, a login.Attempt, id int64) (meta.IdentityProvider, error) {
	providers, err := p.directories.of(ctx, a.Tenant)
	if err != nil {
		return meta.IdentityProvider{}, err
	}
	i := slices.IndexFunc(providers, func(one meta.IdentityProvider) bool { return one.ID == id && one.Tenant == meta.Deployment })
	if i < 0 {
		return meta.IdentityProvider{}, login.ErrUnknown()
	}
	return providers[i], nil
}

// firstByToken makes the account of a person. Where people are found by their passwords only, they
// log in by them once at each tenant.
func (p *People) firstByToken(ctx context.Context, provider meta.IdentityProvider, who meta.Person) error {
	if !searches(provider) {
		return login.ErrUnknown()
	}
	d, err := p.directories.directory(ctx, provider)
	if err != nil {
		return err
	}
	said, err := d.Find(ctx, who.Subject)
	if errors.Is(err, login.ErrGone) {
		return login.ErrUnknown()
	}
	if err != nil {
		return err
	}
	_, err = p.create(ctx, who.Tenant, provider, said, readingOf(provider, said))
	return err
}

// unknownOr is login.ErrUnknown for what is missing.
func unknownOr(err error) error {
	if fault.Is(err, fault.ResourceUnknown) {
		return login.ErrUnknown()
	}
	return err
}
