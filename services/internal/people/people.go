package people

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Provider is what login.Identity says of people of identity providers.
const Provider = "identityProviders"

// longestName is how long a name may be that a provider is asked for.
const longestName = 256

// memory is how long the client of a directory may remember what the directory said. What is
// in the store and younger is newer.
const memory = 90 * time.Second

// People logs in people by the names and passwords that they have at identity providers. It
// implements login.Authenticator.
type People struct {
	store       Store
	directories *Directories
	now         func() time.Time
}

var _ login.Authenticator = (*People)(nil)

// New makes People.
func New(s Store, d *Directories) *People { return &People{store: s, directories: d, now: time.Now} }

// Provider implements login.Authenticator.
func (*People) Provider() string { return Provider }

// Authenticate implements login.Authenticator. No provider gets the name and the secret of an
// account that stands for no person. The operator's providers are asked first: a tenant's sees no
// secret that one of them takes, or could take if it answered. Where one provider cannot be asked,
// others still are, a tenant's in place of the operator's for people apart; only when none of them
// knows the person it is an outage.
func (p *People) Authenticate(ctx context.Context, a login.Attempt) (login.Identity, error) {
	if a.Name != "" && strings.HasPrefix(a.Secret, password.PersonPrefix) {
		return p.byToken(ctx, a)
	}
	if a.Name == "" || len(a.Name) > longestName || !password.Possible(a.Secret) {
		return login.Identity{}, login.ErrUnknown()
	}
	providers, err := p.directories.of(ctx, a.Tenant)
	if err != nil {
		return login.Identity{}, err
	}
	if len(providers) == 0 {
		return login.Identity{}, login.ErrUnknown()
	}
	known, err := p.store.FindNamesakes(ctx, a.Tenant, meta.FoldName(a.Name))
	if err != nil {
		return login.Identity{}, err
	}
	mark := apartFrom(a.Name, providers)
	failed, away := login.ErrUnknown(), false
	for _, provider := range askable(providers, known) {
		operators := provider.Tenant == meta.Deployment
		if away && !operators && !apart(known, mark) {
			break // the person may be of the operator's provider that could not be asked
		}
		said, err := p.ask(ctx, a, provider, nameAt(provider, a.Name, known))
		switch {
		case err == nil:
			return p.enter(ctx, a, provider, said, mark)
		case !fault.Is(err, fault.ResourceUnknown):
			failed, away = err, away || operators
		case operators && !login.SaysNoName(err):
			mark = ""
		}
	}
	return login.Identity{}, failed
}

func (p *People) ask(ctx context.Context, a login.Attempt, provider meta.IdentityProvider, name string) (login.Person, error) {
	d, err := p.directories.directory(ctx, provider)
	if err != nil {
		return login.Person{}, err
	}
	return d.Authenticate(ctx, name, a.Secret)
}

// enter is the identity of a person whose secret a provider took. mark is kept with a person of a
// tenant's provider.
func (p *People) enter(ctx context.Context, a login.Attempt, provider meta.IdentityProvider, said login.Person, mark string) (login.Identity, error) {
	found, err := p.admit(ctx, a.Tenant, provider, said)
	if err == nil && provider.Tenant != meta.Deployment && found.Apart != mark {
		err = p.store.RecordApart(ctx, found, mark)
	}
	if err != nil {
		return login.Identity{}, unknownOr(err)
	}
	p.applyMappings(ctx, provider, a.Tenant, said)
	return login.Identity{Provider: Provider, Subject: provider.Name() + "/" + said.Subject, Principal: found.Principal()}, nil
}

// applyMappings is that of a login. No login fails by it.
func (p *People) applyMappings(ctx context.Context, provider meta.IdentityProvider, t tenant.ID, said login.Person) {
	if err := applyMappings(ctx, p.store, provider, t, GroupNames(provider.Kind, said.Groups)); err != nil {
		web.AddLogAttrs(ctx, slog.String("mapping_failed", err.Error()))
	}
}

// admit returns the account of a person who has logged in, and keeps what the provider said.
func (p *People) admit(ctx context.Context, t tenant.ID, provider meta.IdentityProvider, said login.Person) (meta.Person, error) {
	return p.keep(ctx, t, provider, said, readingOf(provider, said))
}

// keep is admit for a reading.
func (p *People) keep(ctx context.Context, t tenant.ID, provider meta.IdentityProvider, said login.Person, reading meta.PersonReading) (meta.Person, error) {
	reading.Login = true
	found, err := p.store.FindPersonBySubject(ctx, t, provider.ID, said.Subject)
	switch {
	case fault.Is(err, fault.ResourceUnknown):
		return p.create(ctx, t, provider, said, reading)
	case err != nil:
		return meta.Person{}, err
	case found.Disabled && (found.EndedAt.IsZero() || provider.Kind == meta.LDAP && p.now().Sub(found.EndedAt) < memory):
		return meta.Person{}, login.ErrUnknown()
	case found.Disabled:
		if err := p.store.ReturnPerson(ctx, causeOf(ctx, provider), found); err != nil {
			return meta.Person{}, err
		}
	case provider.Kind == meta.LDAP && p.now().Sub(found.ReadAt) < memory:
		return found, nil
	}
	return found, p.store.RecordPerson(ctx, causeOf(ctx, provider), found, reading)
}

// create makes the account of a person who has none.
func (p *People) create(ctx context.Context, t tenant.ID, provider meta.IdentityProvider, said login.Person, reading meta.PersonReading) (meta.Person, error) {
	made := meta.Person{Account: meta.Account{Tenant: t, DisplayName: displayName(said)}, Provider: provider.ID, Subject: said.Subject}
	by := causeOf(ctx, provider, meta.Change{Field: "login_name", New: said.Name})
	return p.store.CreatePerson(ctx, by, made, slugs(said.Name, provider.ID, said.Subject), reading)
}

// readingOf is what is kept of what a provider says of a person.
func readingOf(provider meta.IdentityProvider, said login.Person) meta.PersonReading {
	s := provider.Settings
	return meta.PersonReading{LoginName: said.Name, Groups: GroupNames(provider.Kind, said.Groups), Next: s.Refresh, Hold: s.Refresh + s.Grace}
}

// GroupNames are the names of groups at a provider of the kind in the form that they are
// compared in, sorted, each once.
func GroupNames(kind string, names []string) []string {
	out := slices.Clone(names)
	if kind == meta.LDAP { // whose names differ by more than their case
		for i := range out {
			out[i] = strings.ToLower(out[i])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// displayName leaves out what a display name may not have.
func displayName(said login.Person) string {
	const longest = 200
	clean := []rune(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(said.DisplayName, "")))
	return string(clean[:min(len(clean), longest)])
}

// causeOf is the cause of what a provider changes.
func causeOf(ctx context.Context, provider meta.IdentityProvider, changes ...meta.Change) meta.Cause {
	return meta.Cause{
		Op: uuid.New(), Actor: provider.Name(), RequestID: web.RequestID(ctx),
		Address: web.AddrText(web.ClientAddr(ctx)), UserAgent: web.UserAgent(ctx), Changes: changes,
	}
}
