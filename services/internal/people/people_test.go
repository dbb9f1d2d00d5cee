package people

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login/logintest"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func TestV21_PeopleLogInAsEveryAuthenticatorMust(t *testing.T) {
	logintest.Run(t, func(t testing.TB) logintest.Harness {
		w := newWorld(t)
		other, err := w.CreateTenant(t.Context(), by(), meta.Tenant{Slug: "other"}, tenant.Settings{})
		w.must(err)
		_, theirs := w.addProvider(other.ID, "theirs")
		w.corp.put("alice")
		w.corp.put("bob")
		theirs.put("alice")
		theirs.secrets["alice"] = "password of another alice"
		account := func(name string) logintest.Account {
			return logintest.Account{Name: name, Secret: "password of " + name}
		}
		return logintest.Harness{
			Authenticator: w.people, Tenant: w.tenant, Other: other.ID,
			Alice: account("alice"), Bob: account("bob"), OtherAlice: logintest.Account{Name: "alice", Secret: "password of another alice"},
			Disable: w.corp.remove, Break: w.corp.outage,
			Remake: func(name string) logintest.Account {
				w.must(w.DeleteAccount(t.Context(), by(), w.tenant, access.UserKind, name, 0))
				w.corp.remove(name)
				w.corp.put(name)
				p := w.corp.people[name]
				p.Subject += "-later"
				w.corp.people[name] = p
				return account(name)
			},
		}
	})
}

func TestV21_APersonBecomesAUserAndTakesOverNone(t *testing.T) {
	w := newWorld(t)
	for _, a := range []meta.Account{{Kind: access.UserKind, Slug: "alice", Role: access.Admin}, {Kind: access.ServiceKind, Slug: "ci", Role: access.Writer}} {
		a.Tenant = w.tenant
		_, err := w.CreateAccount(t.Context(), by(), a)
		w.must(err)
	}
	for _, name := range []string{"alice", "ci", "Max.Muster", "ALICE.", "0815"} {
		w.corp.put(name, "dev")
	}
	for _, name := range []string{"alice", "ci", "Alice", "CI", "ci ", " ci", "c\u00adi", "ｃｉ", "ċi"} { // accounts here never reach a directory
		w.refused(name, "password of ci")
	}
	if n := w.corp.count(); n != 0 {
		t.Errorf("the directory was asked %d times", n)
	}
	first := w.enters("Max.Muster", "max-muster")
	if p := first.Principal; p.Role != access.Member || p.Tenant != w.tenant || p.ID == 0 || first.Key != "" {
		t.Errorf("%+v", first)
	}
	if again := w.enters("Max.Muster", "max-muster"); again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	if id, err := w.login("max-muster", "password of Max.Muster"); err != nil || id != first { // by the user's ID
		t.Errorf("%+v, %v", id, err)
	}
	id, err := w.login("ALICE.", "password of ALICE.")
	if err != nil || !strings.HasPrefix(id.Principal.Name, "users/alice-") || len(id.Principal.Name) != len("users/alice-abcd") {
		t.Errorf("%+v, %v", id, err)
	}
	w.enters("0815", "u-0815")
	events, err := w.ListEvents(t.Context(), w.tenant, meta.Page{Size: 1})
	if err != nil || len(events) != 1 || events[0].Verb != "user.create" || events[0].Actor != "identityProviders/corp" || events[0].Target != "users/u-0815" {
		t.Errorf("%+v, %v", events, err)
	}
}

func TestV21_SlugsAreValidAndAPersonsOwn(t *testing.T) {
	for _, name := range []string{"a", "", "Ünal", "max--muster", "x-", "0", strings.Repeat("ab-", 20), "DOMAIN\\user", "user@example.org"} {
		one, other := slugs(name, 1, "s-1"), slugs(name, 1, "s-2")
		if len(one) == 0 || one[len(one)-1] == other[len(other)-1] {
			t.Errorf("%q: %q and %q", name, one, other)
		}
		for _, slug := range one {
			if err := tenant.CheckSlug(slug); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestV22_AnOutageOfOneProviderIsAnOutageOnlyForItsPeople(t *testing.T) {
	w := newWorld(t)
	_, second := w.addProvider(meta.Deployment, "second")
	w.corp.put("max", "dev")
	second.put("eve")
	w.enters("max", "max")
	w.corp.outage(true)
	w.enters("eve", "eve") // by the operator's, which is asked first
	for _, name := range []string{"max", "stranger"} {
		if _, err := w.login(name, "password of "+name); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.corp.outage(false)
	_, third := w.addProvider(w.tenant, "third")
	third.outage(true)
	w.people.directories.Clear()
	w.enters("max", "max")
	if !w.inDev("max") {
		t.Error("max is not in dev")
	}
}

func TestV23_GroupsAreReadAgainAndEndWithTheirAge(t *testing.T) {
	w := newWorld(t)
	w.corp.put("max", "DEV", "staff")
	w.enters("max", "max")
	_, err := w.CreateAccountKey(t.Context(), by(), w.tenant, access.UserKind, "max", meta.AccountKey{Name: "laptop"})
	w.must(err)
	if !w.inDev("max") {
		t.Fatal("not in dev after the login")
	}
	w.corp.put("max", "staff")
	w.pass(5*time.Minute - time.Second)
	if !w.inDev("max") {
		t.Error("read before it was due")
	}
	w.pass(time.Second)
	if w.inDev("max") {
		t.Error("still in dev when it was due")
	}
	w.corp.put("max", "dev")
	w.pass(5 * time.Minute)
	if !w.inDev("max") {
		t.Error("not in dev again")
	}
	w.corp.outage(true)
	for range 12 {
		w.pass(5 * time.Minute)
		if !w.inDev("max") {
			t.Fatalf("the last known groups do not hold at %s", w.now)
		}
	}
	w.pass(5 * time.Minute)
	if w.inDev("max") {
		t.Error("the last known groups hold longer than directory_grace")
	}
	w.corp.outage(false)
	w.pass(time.Minute)
	if !w.inDev("max") {
		t.Error("not in dev after the outage")
	}
}

func TestV23_RevokedGroupsAreReadAgainAtOnce(t *testing.T) {
	w := newWorld(t)
	w.corp.put("max", "dev")
	w.enters("max", "max")
	w.pass(2 * time.Minute)
	w.corp.put("max")
	w.must(w.RevokeTokens(t.Context(), by(), w.tenant, access.UserKind, "max"))
	if w.inDev("max") {
		t.Error("in dev after revoke")
	}
	w.corp.put("max", "dev")
	w.enters("max", "max") // says what a client may remember
	if w.inDev("max") {
		t.Error("in dev by what may be older than revoke")
	}
	w.pass(0)
	if !w.inDev("max") {
		t.Error("not read again")
	}
}

func TestV24_WhoIsGoneEndsAndReturns(t *testing.T) {
	w := newWorld(t)
	w.corp.put("max", "dev")
	w.enters("max", "max")
	w.corp.remove("max")
	w.pass(5 * time.Minute)
	p, err := w.FindPerson(t.Context(), w.tenant, "max")
	if err != nil || !p.Disabled || p.EndedAt.IsZero() || w.inDev("max") {
		t.Fatalf("%+v, %v", p, err)
	}
	w.corp.put("max", "dev")
	w.refused("max", "password of max") // what a client remembers brings no one back
	w.pass(memory)
	w.enters("max", "max")
	if !w.inDev("max") {
		t.Error("not in dev after the return")
	}
	p, err = w.FindPerson(t.Context(), w.tenant, "max")
	w.must(err)
	p.Disabled = true
	_, err = w.UpdateAccount(t.Context(), by(), p.Account) // by an administrator
	w.must(err)
	w.pass(time.Hour)
	w.refused("max", "password of max")
	w.must(w.DeletePrincipalGroup(t.Context(), by(), w.tenant, "dev", 0))
	w.corp.put("eve")
	w.enters("eve", "eve")
	w.must(w.DeleteIdentityProvider(t.Context(), by(), w.tenant, "corp", 0))
	w.pass(0)
	if p, err := w.FindPerson(t.Context(), w.tenant, "eve"); err != nil || !p.Disabled {
		t.Errorf("after the provider was deleted: %+v, %v", p, err)
	}
}

func TestV25_GroupsOfLDAPAreComparedWithoutCase(t *testing.T) {
	if got := GroupNames(meta.LDAP, []string{"Dev", "dev", "Admins"}); !slices.Equal(got, []string{"admins", "dev"}) {
		t.Errorf("%q", got)
	}
	if got := GroupNames("OIDC", []string{"Dev", "dev"}); !slices.Equal(got, []string{"Dev", "dev"}) {
		t.Errorf("%q", got)
	}
}
