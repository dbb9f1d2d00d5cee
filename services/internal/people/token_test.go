package people

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/password"
	"github.com/berth-registry/berth/pkg/tenant"
)

// everywhere is a world in which max of the operator's provider has a token for all tenants.
type everywhere struct {
	*world
	head     *directory
	provider meta.IdentityProvider
	other    tenant.ID
	token    string
}

func newEverywhere(t *testing.T) *everywhere {
	w := &everywhere{world: newWorld(t), token: password.PersonPrefix + strings.Repeat("x", 43)}
	other, err := w.CreateTenant(t.Context(), by(), meta.Tenant{Slug: "other"}, tenant.Settings{})
	w.must(err)
	w.other = other.ID
	w.provider, w.head = w.addProvider(meta.Deployment, "head")
	w.head.put("Max", "dev")
	w.enters("Max", "max")
	p, err := w.FindPerson(t.Context(), w.tenant, "max")
	w.must(err)
	_, err = w.CreatePersonToken(t.Context(), by(), p, meta.AccountKey{Name: "all", Hash: sha256.Sum256([]byte(w.token)), ExpiresAt: w.now.Add(24 * time.Hour)})
	w.must(err)
	return w
}

func (w *everywhere) byToken(t tenant.ID, name, host string) (login.Identity, error) {
	return w.people.Authenticate(w.t.Context(), login.Attempt{Tenant: t, Name: name, Secret: w.token, Host: host})
}

// taken checks that the token logs in as the account.
func (w *everywhere) taken(t tenant.ID, name, account string) login.Identity {
	w.t.Helper()
	id, err := w.byToken(t, name, "dev.example")
	if err != nil || id.Principal.Name != "users/"+account || id.Principal.Tenant != t || id.Principal.Role != access.Member || id.Key != access.PersonTokenKey("all") || id.Principal.Key != id.Key {
		w.t.Errorf("%s: %+v, %v", name, id, err)
	}
	return id
}

func (w *everywhere) notTaken(t tenant.ID, name, host string) {
	w.t.Helper()
	if id, err := w.byToken(t, name, host); !fault.Is(err, fault.ResourceUnknown) {
		w.t.Errorf("%s: %+v, %v", name, id, err)
	}
}

// setProvider changes the provider, as an operator does.
func (w *everywhere) setProvider(change func(*meta.IdentityProvider)) {
	w.t.Helper()
	w.provider.Version = 0
	change(&w.provider)
	_, err := w.UpdateIdentityProvider(w.t.Context(), by(), w.provider)
	w.must(err)
	w.people.directories.Clear()
}

func TestV92_OneTokenIsTheAccountOfEachTenant(t *testing.T) {
	w := newEverywhere(t)
	_, err := w.CreateAccount(t.Context(), by(), meta.Account{Tenant: w.other, Kind: access.UserKind, Slug: "max", Role: access.Admin})
	w.must(err)
	w.head.outage(true)
	asked := w.head.count()
	w.taken(w.tenant, "max", "max")
	w.taken(w.tenant, "MAX", "max")
	if _, err := w.byToken(w.other, "max", "dev.example"); fault.KindOf(err) != fault.Unavailable { // nothing is known of the person there
		t.Errorf("%v", err)
	}
	w.head.outage(false)
	for _, name := range []string{"", "eve", "max-x"} {
		w.notTaken(w.tenant, name, "dev.example")
		w.notTaken(w.other, name, "dev.example")
	}
	w.notTaken(w.tenant, "max", "") // of no registry
	w.setProvider(func(p *meta.IdentityProvider) { p.Tenants = []tenant.ID{w.tenant} })
	w.notTaken(w.other, "max", "dev.example")
	if accounts, err := w.AccountsOfPerson(t.Context(), w.provider.ID, "s-Max"); err != nil || len(accounts) != 1 {
		t.Errorf("a tenant that the provider is not offered to: %+v, %v", accounts, err)
	}
	w.setProvider(func(p *meta.IdentityProvider) { p.Tenants = nil })
	first, err := w.byToken(w.other, "max", "dev.example")
	if err != nil || !strings.HasPrefix(first.Principal.Name, "users/max-") || first.Principal.Role != access.Member {
		t.Fatalf("%+v, %v", first, err)
	}
	w.taken(w.other, strings.TrimPrefix(first.Principal.Name, "users/"), strings.TrimPrefix(first.Principal.Name, "users/"))
	if groups, _, err := w.GroupsOf(t.Context(), w.other, first.Principal.Name); err != nil || len(groups) != 0 {
		t.Errorf("%q, %v", groups, err)
	}
	if n := w.head.count(); n != asked {
		t.Errorf("the provider saw %d passwords", n-asked)
	}
	w.setProvider(func(p *meta.IdentityProvider) { p.Disabled = true })
	w.notTaken(w.tenant, "max", "dev.example")
}

func TestV93_ATenantEndsThePersonInItselfAlone(t *testing.T) {
	w := newEverywhere(t)
	theirs := w.taken(w.other, "max", "max")
	p, err := w.FindPerson(t.Context(), w.tenant, "max")
	w.must(err)
	p.Disabled = true
	_, err = w.UpdateAccount(t.Context(), by(), p.Account)
	w.must(err)
	w.notTaken(w.tenant, "max", "dev.example")
	if again := w.taken(w.other, "max", "max"); again != theirs {
		t.Errorf("%+v, then %+v", theirs, again)
	}
	for _, id := range []tenant.ID{w.tenant, w.other} {
		events, err := w.ListEvents(t.Context(), id, meta.Page{Size: 100})
		w.must(err)
		for _, e := range events {
			if id == w.other && strings.HasPrefix(e.Verb, "accessToken") || strings.Contains(e.Changes, "other") {
				t.Errorf("a tenant learns of another: %+v", e)
			}
		}
	}
}

func TestV94_WhoIsGoneIsGoneInAllTenants(t *testing.T) {
	w := newEverywhere(t)
	w.taken(w.other, "max", "max")
	w.head.remove("Max")
	w.now = w.now.Add(5 * time.Minute)
	due, err := w.DuePeople(t.Context(), 0, 9)
	if err != nil || len(due) != 2 {
		t.Fatalf("%+v, %v", due, err)
	}
	w.must(w.PostponePerson(t.Context(), due[1])) // one is read
	w.pass(0)
	for _, id := range []tenant.ID{w.tenant, w.other} {
		p, err := w.FindPerson(t.Context(), id, "max")
		if err != nil || !p.Disabled || p.EndedAt.IsZero() {
			t.Errorf("%+v, %v", p, err)
		}
		w.notTaken(id, "max", "dev.example")
	}
	if revoked, err := w.ListRevocations(t.Context(), time.Hour, 9); err != nil || len(revoked) != 2 {
		t.Errorf("%+v, %v", revoked, err)
	}
	w.head.put("Max", "dev")
	w.now = w.now.Add(memory)
	w.enters("Max", "max")
	w.notTaken(w.tenant, "max", "dev.example") // it ended for good
}
