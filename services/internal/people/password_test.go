package people

import (
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// A tenant's provider sees no password that may be of a person of the operator's, also where it is
// wrong or the operator's cannot be asked, however the name is written.
func TestV112_ATenantsProviderSeesNoPasswordOfTheOperatorsPeople(t *testing.T) {
	for name, account := range map[string]string{"boss": "boss", "Big.Boss": "big-boss", "user@corp": "user-corp", "Bóss": "b-ss"} {
		w := newWorld(t)
		provider, operators := w.addProvider(meta.Deployment, "head")
		operators.put(name)
		w.corp.put("max")
		w.corp.put(name)
		w.enters(name, account)
		w.refused(name, "a wrong password")
		w.refused(" "+name, "a wrong password")
		operators.outage(true)
		if _, err := w.login(name, "password of "+name); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: during an outage: %v", name, err)
		}
		operators.outage(false)
		w.enters("max", "max")
		provider.Disabled = true
		_, err := w.UpdateIdentityProvider(t.Context(), by(), provider)
		w.must(err)
		w.people.directories.Clear()
		w.refused(name, "password of "+name)
		if n := w.corp.count(); n != 1 { // for max
			t.Errorf("%s: the tenant's provider was asked %d times", name, n)
		}
	}
}

// The tenant's provider has a person of the same name, who logged in first.
func TestV112_ATenantTakesNoNameOfTheOperatorsPeople(t *testing.T) {
	w := newWorld(t)
	_, operators := w.addProvider(meta.Deployment, "head")
	w.corp.put("boss")
	w.enters("boss", "boss")
	asked := w.corp.count()
	operators.put("boss")
	operators.mu.Lock()
	operators.secrets["boss"] = "the other's"
	operators.mu.Unlock()
	id, err := w.login("boss", "the other's")
	if err != nil || id.Principal.Name == "users/boss" {
		t.Errorf("%+v, %v", id, err)
	}
	operators.outage(true)
	if _, err := w.login("boss", "the other's"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("during an outage: %v", err)
	}
	if n := w.corp.count() - asked; n != 0 {
		t.Errorf("the tenant's provider was asked %d times", n)
	}
}

// The operator's provider took the password, and an administrator has disabled the account.
func TestV112_APasswordThatWasTakenIsShownToNoOther(t *testing.T) {
	w := newWorld(t)
	_, operators := w.addProvider(meta.Deployment, "head")
	operators.put("boss")
	w.enters("boss", "boss")
	p, err := w.FindPerson(t.Context(), w.tenant, "boss")
	w.must(err)
	p.Disabled = true
	_, err = w.UpdateAccount(t.Context(), by(), p.Account)
	w.must(err)
	operators.mu.Lock()
	renamed := operators.people["boss"]
	renamed.Name = "chief"
	operators.people["chief"], operators.secrets["chief"] = renamed, "password of chief"
	operators.mu.Unlock()
	w.refused("chief", "password of chief")
	if n := w.corp.count(); n != 0 {
		t.Errorf("the tenant's provider was asked %d times", n)
	}
	if _, err := w.FindAccount(t.Context(), w.tenant, access.UserKind, "chief"); !fault.Is(err, fault.ResourceUnknown) {
		t.Error(err)
	}
}
