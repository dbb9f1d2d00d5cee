package metatest

import (
	"crypto/sha256"
	"io/fs"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testPersonTokens(t *testing.T, open Open) {
	t.Run("V90 find the person's account in each tenant, until they end", func(t *testing.T) { testPersonTokenCounts(t, open) })
	t.Run("V91 end in all tenants with one revocation for each account", func(t *testing.T) { testPersonTokenEnds(t, open) })
	t.Run("V90 come with an upgrade", func(t *testing.T) {
		w := newWorld(t, open)
		w.must(w.SQL.Exec(`DROP TABLE person_tokens; DROP INDEX account_identities_by_person;`)) // as it was before
		step, err := fs.ReadFile(w.SQL.Steps, "0040_person_tokens.sql")
		w.must(err)
		w.must(w.SQL.Exec(string(step)))
		w.addPersonToken(w.addPerson(w.addProvider(meta.Deployment, "corp"), "max", "s-max"), "all")
	})
}

func testPersonTokenCounts(t *testing.T, open Open) {
	w := newWorldWith(t, open, Options{Limits: meta.Limits{AccountKeys: 2}})
	corp := w.addProvider(meta.Deployment, "corp")
	somebody := w.addPerson(corp, "max", "s-max")
	w.must(w.Store.PostponePerson(t.Context(), somebody))
	hash := w.addPersonToken(somebody, "all")
	w.due(0, "max")
	if e := w.events("", 1)[0]; e.Verb != "accessToken.create" || e.Target != "users/max/accessTokens/all" {
		t.Errorf("%+v", e)
	}
	w.Advance(meta.PersonSeen)
	if due, err := w.Store.DuePeople(t.Context(), 0, 9); err != nil || len(due) != 1 || !due[0].Active {
		t.Errorf("%+v, %v", due, err)
	}
	other, _ := w.addTenant("other", 0)
	here, there := w.personByToken(w.tenant, hash), w.personByToken(other, hash)
	if p := here.Principal(); p.Name != "users/max" || p.ID != somebody.ID || p.Tenant != w.tenant || p.Role != access.Member || p.Key != access.PersonTokenKey("all") {
		t.Errorf("%+v", here)
	}
	if there.ID != 0 || there.Tenant != other || there.Provider != corp.ID || there.Subject != "s-max" || there.LoginName != "Max" {
		t.Errorf("%+v", there)
	}
	w.addPersonToken(somebody, "second")
	_, err := w.Store.CreatePersonToken(t.Context(), cause(), somebody, meta.AccountKey{Name: "third", Hash: sha256.Sum256([]byte("third")), ExpiresAt: w.Now().Add(time.Hour)})
	w.refused(err, fault.Conflict, fault.LimitReached)
	at := w.Now().Truncate(time.Minute)
	elsewhere := meta.Person{Account: meta.Account{Tenant: other}, Provider: corp.ID, Subject: "s-max"}
	w.offerToAll(corp)
	elsewhere, err = w.Store.CreatePerson(t.Context(), cause(), elsewhere, []string{"max-m"}, ofDev)
	w.must(err)
	w.must(w.Store.RecordKeyUses(t.Context(), []meta.KeyUse{
		{Tenant: w.tenant, Account: somebody.ID, Key: access.PersonTokenKey("all"), At: at.Add(-time.Minute), Address: "192.0.2.1"},
		{Tenant: other, Account: elsewhere.ID, Key: access.PersonTokenKey("all"), At: at, Address: "192.0.2.2"},
	}))
	keys, err := w.Store.ListPersonTokens(t.Context(), elsewhere)
	if err != nil || len(keys) != 2 || keys[0].Name != "all" || !keys[0].AllTenants || keys[0].Note != "docker" || !keys[0].UsedAt.Equal(at) || keys[0].UsedFrom != "192.0.2.2" || !keys[1].UsedAt.IsZero() {
		t.Errorf("%+v, %v", keys, err)
	}
	suspended, err := w.Store.FindTenant(t.Context(), "other")
	w.must(err)
	suspended.State = tenant.Suspended
	_, err = w.Store.UpdateTenant(t.Context(), cause(), suspended)
	w.must(err)
	w.noPersonByToken(other, hash)
	w.Advance(time.Hour)
	w.noPersonByToken(w.tenant, hash)
	w.consistent()
}

func testPersonTokenEnds(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(meta.Deployment, "corp")
	somebody := w.addPerson(corp, "max", "s-max")
	other, _ := w.addTenant("other", 0)
	w.offerToAll(corp)
	elsewhere, err := w.Store.CreatePerson(t.Context(), cause(), meta.Person{Account: meta.Account{Tenant: other}, Provider: corp.ID, Subject: "s-max"}, []string{"max-m"}, ofDev)
	w.must(err)
	w.addPerson(corp, "eve", "s-eve")
	hash, kept := w.addPersonToken(somebody, "one"), w.addPersonToken(somebody, "two")
	ofEve := w.addPersonToken(w.person("eve"), "one")

	w.must(w.Store.DeletePersonToken(t.Context(), cause(), elsewhere, "one"))
	w.noPersonByToken(w.tenant, hash)
	w.personByToken(w.tenant, ofEve)
	revoked, err := w.Store.ListRevocations(t.Context(), time.Hour, 9)
	if err != nil || len(revoked) != 2 || revoked[0].Epoch != 1 || revoked[1].Epoch != 1 || revoked[0].Key+revoked[1].Key != "" || revoked[0].Account+revoked[1].Account != somebody.ID+elsewhere.ID {
		t.Errorf("%+v, %v", revoked, err)
	}
	if l := w.personByToken(other, kept); l.Epoch != 1 || l.ID != elsewhere.ID {
		t.Errorf("%+v", l)
	}
	if e := w.events("", 1)[0]; e.Verb == "accessToken.delete" {
		t.Errorf("a tenant learns of another: %+v", e)
	}
	w.refused(w.Store.DeletePersonToken(t.Context(), cause(), elsewhere, "one"), fault.NotFound, fault.ResourceUnknown)
	w.addPersonToken(somebody, "three")
	w.must(w.Store.DeletePersonToken(t.Context(), cause(), somebody, "three"))
	if revoked, err = w.Store.ListRevocations(t.Context(), time.Hour, 9); err != nil || len(revoked) != 2 || revoked[0].Epoch != 2 {
		t.Errorf("%+v, %v", revoked, err)
	}

	accounts, err := w.Store.AccountsOfPerson(t.Context(), corp.ID, "s-max")
	if err != nil || len(accounts) != 2 || accounts[0].ID != somebody.ID || accounts[0].Slug != "max" || accounts[1].Tenant != other || accounts[1].Slug != "max-m" {
		t.Fatalf("%+v, %v", accounts, err)
	}
	w.must(w.Store.EndPerson(t.Context(), cause(), accounts[1]))
	w.noPersonByToken(w.tenant, kept)
	w.must(w.Store.DeleteIdentityProvider(t.Context(), cause(), meta.Deployment, "corp", 0))
	w.noPersonByToken(w.tenant, ofEve)
	w.consistent()
}

// addPersonToken makes a token of an hour, and returns its hash.
func (w world) addPersonToken(p meta.Person, name string) [32]byte {
	w.t.Helper()
	hash := sha256.Sum256([]byte(p.Subject + name))
	made, err := w.Store.CreatePersonToken(w.t.Context(), cause(), p, meta.AccountKey{Name: name, Hash: hash, Note: "docker", ExpiresAt: w.Now().Add(meta.PersonSeen + time.Hour)})
	w.must(err)
	if made.Name != name || made.Hash != hash || !made.AllTenants || !made.CreatedAt.Equal(w.Now()) {
		w.t.Errorf("%+v", made)
	}
	return hash
}

func (w world) personByToken(t tenant.ID, hash [32]byte) meta.PersonLogin {
	w.t.Helper()
	l, err := w.Store.FindPersonByToken(w.t.Context(), t, hash)
	w.must(err)
	return l
}

func (w world) noPersonByToken(t tenant.ID, hash [32]byte) {
	w.t.Helper()
	_, err := w.Store.FindPersonByToken(w.t.Context(), t, hash)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
}
