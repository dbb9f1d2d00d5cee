package people

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/seal"
	"github.com/berth-registry/berth/pkg/tenant"
)

// directory is a login.Directory in memory.
type directory struct {
	mu      sync.Mutex
	people  map[string]login.Person // by name
	secrets map[string]string
	down    bool
	vague   bool // it cannot tell that it has no such name
	asked   int
	late    func() // runs after the answer was found, before it is returned
	closed  int
}

// Close is what a client has that keeps connections.
func (d *directory) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
}

func (d *directory) Authenticate(_ context.Context, name, secret string) (login.Person, error) {
	defer d.answered()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	p, ok := d.people[name]
	switch {
	case d.down:
		return login.Person{}, fault.Down(errors.New("it does not answer"), "the directory")
	case !ok && !d.vague:
		return login.Person{}, login.ErrNoName()
	case !ok || d.secrets[name] != secret:
		return login.Person{}, login.ErrUnknown()
	}
	return p, nil
}

func (d *directory) Find(_ context.Context, subject string) (login.Person, error) {
	defer d.answered()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return login.Person{}, fault.Down(errors.New("it does not answer"), "the directory")
	}
	for _, p := range d.people {
		if p.Subject == subject {
			return p, nil
		}
	}
	return login.Person{}, login.ErrGone
}

func (d *directory) answered() {
	d.mu.Lock()
	late := d.late
	d.mu.Unlock()
	if late != nil {
		late()
	}
}

func (d *directory) onAnswer(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late = f
}

func (d *directory) put(name string, groups ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.people[name] = login.Person{Subject: "s-" + name, Name: name, DisplayName: name, Groups: groups}
	d.secrets[name] = "password of " + name
}

func (d *directory) remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.people, name)
}

func (d *directory) outage(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

func (d *directory) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// world is a tenant with the provider corp, by whose groups people are in the tenant's.
type world struct {
	meta.Store
	t         testing.TB
	tenant    tenant.ID
	now       time.Time
	corp      *directory
	provider  meta.IdentityProvider
	others    map[string]*directory // by the slug of a provider
	people    *People
	refresher *Refresher
}

func by() meta.Cause { return meta.Cause{Op: uuid.New(), Actor: "operator"} }

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Now(), others: map[string]*directory{}}
	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: t.TempDir(), Now: func() time.Time { return w.now }})
	w.must(err)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Store = store
	made, err := store.CreateTenant(t.Context(), by(), meta.Tenant{Slug: "acme"}, tenant.Settings{})
	w.must(err)
	w.tenant = made.ID
	w.provider, w.corp = w.addProvider(w.tenant, "corp")
	directories := NewDirectories(store, func(_ context.Context, p meta.IdentityProvider) (login.Directory, error) {
		return w.others[p.Name()], nil
	})
	w.people = New(store, directories)
	w.people.now = func() time.Time { return w.now }
	w.refresher = NewRefresher(store, directories, lease.NewMemory(), &seal.Keyring{}, slog.New(slog.DiscardHandler))
	w.refresher.now = func() time.Time { return w.now }
	_, err = store.CreatePrincipalGroup(t.Context(), by(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "dev", Identities: []meta.GroupIdentity{{Provider: w.provider.ID, Group: "dev"}}})
	w.must(err)
	return w
}

func (w *world) addProvider(owner tenant.ID, slug string) (meta.IdentityProvider, *directory) {
	w.t.Helper()
	p, err := w.CreateIdentityProvider(w.t.Context(), by(), meta.IdentityProvider{
		Tenant: owner, Slug: slug, Kind: meta.LDAP, Settings: meta.ProviderSettings{Refresh: 5 * time.Minute, Grace: time.Hour, LDAP: &meta.LDAPSettings{BindDN: "cn=berth"}},
	})
	w.must(err)
	d := &directory{people: map[string]login.Person{}, secrets: map[string]string{}}
	w.others[p.Name()] = d
	return p, d
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) login(name, secret string) (login.Identity, error) {
	return w.people.Authenticate(w.t.Context(), login.Attempt{Tenant: w.tenant, Name: name, Secret: secret})
}

// enters logs somebody in, as the account.
func (w *world) enters(name, account string) login.Identity {
	w.t.Helper()
	id, err := w.login(name, "password of "+name)
	if err != nil || id.Principal.Name != "users/"+account {
		w.t.Fatalf("%s: %+v, %v", name, id, err)
	}
	return id
}

func (w *world) refused(name, secret string) {
	w.t.Helper()
	if id, err := w.login(name, secret); !fault.Is(err, fault.ResourceUnknown) {
		w.t.Errorf("%s: %+v, %v", name, id, err)
	}
}

// inDev reports whether the account is in the tenant's group dev now.
func (w *world) inDev(account string) bool {
	w.t.Helper()
	groups, _, err := w.GroupsOf(w.t.Context(), w.tenant, "users/"+account)
	w.must(err)
	return len(groups) == 1 && groups[0] == "groups/dev"
}

// pass lets time pass, and people be read who are due.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	_, err := w.refresher.Round(w.t.Context())
	w.must(err)
}
