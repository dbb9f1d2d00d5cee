package people

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// restart makes what another process with the same database has.
func (w *world) restart() {
	w.people = New(w.Store, NewDirectories(w.Store, w.people.directories.open))
	w.people.now = func() time.Time { return w.now }
}

// waits checks that a login with the right password is an outage, of which the tenant's provider
// hears nothing.
func (w *world) waits(why, name, secret string) {
	w.t.Helper()
	asked := w.corp.count()
	if id, err := w.login(name, secret); fault.KindOf(err) != fault.Unavailable {
		w.t.Errorf("%s: %s: %+v, %v", why, name, id, err)
	}
	if n := w.corp.count() - asked; n != 0 {
		w.t.Errorf("%s: %s: the tenant's provider was asked %d times", why, name, n)
	}
}

// The operator's provider has said that it has no such name, and is away since then.
func TestV22_PeopleApartLogInWhileTheOperatorsProviderIsAway(t *testing.T) {
	w := newWorld(t)
	_, operators := w.addProvider(meta.Deployment, "head")
	issuer, err := w.CreateIdentityProvider(t.Context(), by(), meta.IdentityProvider{Tenant: meta.Deployment, Slug: "browsers", Kind: meta.OIDC})
	w.must(err)
	w.others[issuer.Name()] = &directory{down: true} // takes no passwords, and is not asked for any
	w.corp.put("Max.M", "dev")
	w.corp.put("eve")
	w.enters("Max.M", "max-m")
	operators.outage(true)
	w.enters("Max.M", "max-m")
	w.restart()
	for range 3 { // such logins do not end it
		w.enters("Max.M", "max-m")
		w.pass(2 * memory)
	}
	if !w.inDev("max-m") {
		t.Error("not in dev")
	}
	if _, err := w.login("Max.M", "a wrong password"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("with a wrong password: %v", err)
	}
	w.waits("never logged in", "eve", "password of eve")
	w.waits("the operator's provider was not asked for it", "max-m", "password of Max.M")
	w.waits("the operator's provider was not asked for it", "max.m", "password of Max.M")
	operators.outage(false)
	if id, err := w.login("max-m", "password of Max.M"); err != nil || id.Principal.Name != "users/max-m" {
		t.Fatalf("by the user's ID: %+v, %v", id, err)
	}
	operators.outage(true)
	if id, err := w.login("max-m", "password of Max.M"); err != nil || id.Principal.Name != "users/max-m" {
		t.Errorf("by the user's ID: %+v, %v", id, err)
	}
	w.waits("the last login was by another name", "Max.M", "password of Max.M")
}

// A tenant's administrator gives the name of a person of the operator's to a person here, who logs
// in first. The right password of the operator's person does not reach the tenant's provider.
func TestV22_ANameThatTheOperatorsProviderHasIsNotApart(t *testing.T) {
	for why, prepare := range map[string]func(w *world, operators *directory) func(){
		"the operator's has the name": func(_ *world, d *directory) func() { d.put("boss"); return nil },
		"the operator's cannot tell":  func(_ *world, d *directory) func() { d.vague = true; return nil },
		"another of the operator's has it": func(w *world, _ *directory) func() {
			_, another := w.addProvider(meta.Deployment, "second")
			another.put("boss")
			another.secrets["boss"] = "that of another boss"
			return nil
		},
		"the operator's was changed": func(w *world, _ *directory) func() {
			return func() {
				changed, err := w.FindIdentityProvider(t.Context(), meta.Deployment, "head")
				w.must(err)
				changed.Settings.LDAP.BindDN = "cn=another"
				_, err = w.UpdateIdentityProvider(t.Context(), by(), changed)
				w.must(err)
			}
		},
		"another of the operator's is later": func(w *world, _ *directory) func() {
			return func() {
				_, another := w.addProvider(meta.Deployment, "second")
				another.outage(true)
			}
		},
	} {
		w := newWorld(t)
		_, operators := w.addProvider(meta.Deployment, "head")
		later := prepare(w, operators)
		w.corp.put("boss")
		w.corp.secrets["boss"] = "that of the tenant's"
		if _, err := w.login("boss", "that of the tenant's"); err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		w.pass(2 * memory)
		if later != nil {
			later()
		}
		operators.outage(true)
		w.restart()
		w.waits(why, "boss", "password of boss")
	}
}

// The name was free at the operator's provider at one login, and is a person's at the next.
func TestV22_EachLoginSaysWhetherANameIsApart(t *testing.T) {
	w := newWorld(t)
	_, operators := w.addProvider(meta.Deployment, "head")
	w.corp.put("boss")
	w.enters("boss", "boss")
	operators.put("boss")
	operators.secrets["boss"] = "the right one"
	w.enters("boss", "boss") // within the time that the reading is not kept again
	operators.outage(true)
	w.waits("the operator's has it now", "boss", "the right one")
	operators.outage(false)
	operators.remove("boss")
	w.enters("boss", "boss")
	operators.outage(true)
	w.enters("boss", "boss")
}

// Of two providers of the operator's one is away, and the other one has the name now.
func TestV22_AProviderThatAnswersSaysThatANameIsNotApart(t *testing.T) {
	w := newWorld(t)
	_, operators := w.addProvider(meta.Deployment, "head")
	_, others := w.addProvider(meta.Deployment, "second")
	w.corp.put("boss")
	w.enters("boss", "boss")
	operators.outage(true)
	w.enters("boss", "boss")
	others.put("chief")
	w.enters("chief", "chief")
	others.put("boss")
	w.waits("the other one has it now", "boss", "a wrong password")
}

// What is the tenant's own holds up no other of the tenant's.
func TestV22_AnOutageOfATenantsProviderIsOneOfItsPeopleAlone(t *testing.T) {
	w := newWorld(t)
	_, second := w.addProvider(w.tenant, "second")
	second.put("eve")
	w.corp.outage(true)
	w.enters("eve", "eve")
}
