package people

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/login/oidclogin"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// OIDCSettings are those of the client of an issuer.
func OIDCSettings(s meta.OIDCSettings, secret string) oidclogin.Settings {
	return oidclogin.Settings{Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: secret, Scopes: s.Scopes, Username: s.Username, Groups: s.Groups}
}

// Issuers log in people at OpenID Connect issuers. Safe for concurrent use.
type Issuers struct {
	people  *People
	secrets *seal.Keyring // of refresh tokens; without a key they are not kept
}

// NewIssuers makes Issuers.
func NewIssuers(p *People, secrets *seal.Keyring) *Issuers { return &Issuers{p, secrets} }

// Find returns the ID of the tenant's provider with the name, as the tenant's log has it, at which
// people log in by a browser. fault.ResourceUnknown without one.
func (i *Issuers) Find(ctx context.Context, t tenant.ID, name string) (int64, error) {
	p, err := i.find(ctx, t, func(p meta.IdentityProvider) bool { return p.Name() == name })
	return p.ID, err
}

func (i *Issuers) find(ctx context.Context, t tenant.ID, is func(meta.IdentityProvider) bool) (meta.IdentityProvider, error) {
	providers, err := i.people.directories.of(ctx, t)
	if err != nil {
		return meta.IdentityProvider{}, err
	}
	for _, p := range providers {
		if p.Kind == meta.OIDC && is(p) {
			return p, nil
		}
	}
	return meta.IdentityProvider{}, fault.New(fault.NotFound, fault.ResourceUnknown, "the tenant has no such identity provider of the kind OIDC")
}

// client returns the tenant's provider with the ID, and its client.
func (i *Issuers) client(ctx context.Context, t tenant.ID, id int64) (meta.IdentityProvider, *oidclogin.Client, error) {
	p, err := i.find(ctx, t, func(p meta.IdentityProvider) bool { return p.ID == id })
	if err != nil {
		return p, nil, err
	}
	c, err := i.people.directories.issuer(ctx, p)
	return p, c, err
}

// issuer is the client of a provider that is an issuer.
func (d *Directories) issuer(ctx context.Context, p meta.IdentityProvider) (*oidclogin.Client, error) {
	c, err := d.directory(ctx, p)
	if err != nil {
		return nil, err
	}
	if issuer, ok := c.(*oidclogin.Client); ok {
		return issuer, nil
	}
	return nil, fault.New(fault.Internal, fault.InternalReason, "%s is not an issuer", p.Name())
}

// Begin returns the URL at which a browser logs in.
func (i *Issuers) Begin(ctx context.Context, t tenant.ID, provider int64, f oidclogin.Flow) (string, error) {
	_, c, err := i.client(ctx, t, provider)
	if err != nil {
		return "", err
	}
	return c.Begin(ctx, f)
}

// Finish logs in the person whose browser came back with the code, once for each state. life is
// how long the login had from its beginning.
func (i *Issuers) Finish(ctx context.Context, t tenant.ID, provider int64, f oidclogin.Flow, code, iss string, life time.Duration) (access.Principal, error) {
	p, c, err := i.client(ctx, t, provider)
	if err != nil {
		return access.Principal{}, err
	}
	if err := i.once(ctx, f.State, life); err != nil {
		return access.Principal{}, err
	}
	said, err := c.Finish(ctx, f, code, iss)
	if err != nil {
		return access.Principal{}, err
	}
	return i.admit(ctx, t, p, said)
}

// once is fault.Invalid for a login that has ended before, at whatever node.
func (i *Issuers) once(ctx context.Context, id string, life time.Duration) error {
	err := i.people.store.FinishLogin(ctx, sha256.Sum256([]byte(id)), life)
	if fault.Is(err, fault.AlreadyExists) {
		return fault.New(fault.Invalid, fault.RequestInvalid, "%s", fault.From(err).Message)
	}
	return err
}

// admit returns the account of a person who has logged in at an issuer.
func (i *Issuers) admit(ctx context.Context, t tenant.ID, p meta.IdentityProvider, said oidclogin.Answer) (access.Principal, error) {
	reading := readingOf(p, said.Person)
	if said.Refresh != "" && !i.secrets.Empty() {
		sealed, err := i.secrets.Seal(said.Refresh, refreshName(p, said.Person.Subject))
		if err != nil {
			return access.Principal{}, err
		}
		reading.Refresh = sealed
	} else {
		reading.Hold, reading.Next = p.Settings.OIDC.GroupsMaxAge, p.Settings.OIDC.GroupsMaxAge
	}
	found, err := i.people.keep(ctx, t, p, said.Person, reading)
	if fault.Is(err, fault.ResourceUnknown) {
		return access.Principal{}, fault.New(fault.Unauthenticated, fault.UnauthorizedReason, "the account of this person is disabled")
	}
	if err != nil {
		return access.Principal{}, err
	}
	i.people.applyMappings(ctx, p, t, said.Person)
	return found.Principal(), nil
}

// refreshName is the name to which a refresh token is sealed.
func refreshName(p meta.IdentityProvider, subject string) string {
	return p.SecretName() + "/refresh/" + subject
}

// refresh asks an issuer again. false: there is nothing to record.
func (b *batch) refresh(ctx context.Context, provider meta.IdentityProvider, p meta.Person) (login.Person, bool, error) {
	mine, err := b.store.TryRefresh(ctx, p)
	if err != nil || !mine {
		return login.Person{}, false, err
	}
	token, err := b.secrets.Open(p.Refresh, refreshName(provider, p.Subject))
	if err != nil {
		return login.Person{}, false, b.store.LoseRefresh(ctx, p)
	}
	// A token that the issuer has replaced is kept whatever happens to those who wait: Run, too, ends
	// after that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTime)
	defer cancel()
	keep := func(next string, used bool) error { return b.keepRefresh(ctx, provider, p, next, used) }
	c, err := b.directories.issuer(ctx, provider)
	if err != nil {
		return login.Person{}, false, errors.Join(err, keep(token, false))
	}
	said, err := c.Refresh(ctx, p.Subject, token, keep)
	if !errors.Is(err, login.ErrGone) {
		return said, err == nil, err
	}
	// A process that died while it used the token may have got another one, that no one has. Then
	// the issuer says nothing about the person.
	if !p.RefreshTriedAt.IsZero() {
		return said, false, b.store.LoseRefresh(ctx, p)
	}
	now, err := b.store.FindPersonBySubject(ctx, p.Tenant, p.Provider, p.Subject)
	if err != nil || string(now.Refresh) != string(p.Refresh) { // a login has brought another one
		return said, false, err
	}
	return said, false, login.ErrGone
}

// keepRefresh keeps the refresh token that counts from here on. One that was not used stays in doubt
// if another process may have used it before.
func (b *batch) keepRefresh(ctx context.Context, provider meta.IdentityProvider, p meta.Person, next string, used bool) error {
	if !used && !p.RefreshTriedAt.IsZero() {
		return nil
	}
	sealed, err := b.secrets.Seal(next, refreshName(provider, p.Subject))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	return b.store.KeepRefresh(ctx, p, sealed)
}
