package metatest

import (
	"crypto/sha256"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// ofDev is what a provider says of a person in the group dev.
var ofDev = meta.PersonReading{LoginName: "Max", Groups: []string{"dev", "staff"}, Next: 5 * time.Minute, Hold: time.Hour + 5*time.Minute}

func testPeople(t *testing.T, open Open) {
	t.Run("V17 get an account at the first login, and take over none", func(t *testing.T) { testFirstLogins(t, open) })
	t.Run("V18 are in groups by what the provider says, while that counts", func(t *testing.T) { testPersonGroups(t, open) })
	t.Run("V22 keep that no provider of the operator's has the name", func(t *testing.T) { testApart(t, open) })
	t.Run("V19 end with all that they have, and return unless an administrator disabled them", func(t *testing.T) { testPersonEnds(t, open) })
	t.Run("V20 are due when there is anything to decide", func(t *testing.T) { testDuePeople(t, open) })
	t.Run("V18 lose what a provider said when it is disabled, not offered, deleted or revoked", func(t *testing.T) { testProviderEnds(t, open) })
	t.Run("V78 have a refresh token that one process uses at a time", func(t *testing.T) { testRefreshes(t, open) })
	t.Run("V73 finish a login once", func(t *testing.T) { testFinishedLogins(t, open) })
	t.Run("V15 come with an upgrade", func(t *testing.T) {
		w := newWorld(t, open)
		w.addUser("alice")
		w.must(w.SQL.Exec(`DROP TABLE account_identities; DROP TABLE group_identities; DROP TABLE identity_providers; DROP TABLE finished_logins;`)) // as it was before
		for _, name := range []string{"0032_identity_providers.sql", "0033_people.sql", "0036_issuers.sql", "0044_login_names.sql", "0045_apart.sql"} {
			step, err := fs.ReadFile(w.SQL.Steps, name)
			w.must(err)
			w.must(w.SQL.Exec(string(step)))
		}
		if p := w.person("alice"); p.Provider != 0 || p.Slug != "alice" {
			t.Errorf("%+v", p)
		}
		w.addPerson(w.addProvider(w.tenant, "corp"), "max", "s-max")
	})
}

func testFirstLogins(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(w.tenant, "corp")
	w.addUser("alice")
	by := cause()
	p := meta.Person{Account: meta.Account{Tenant: w.tenant, DisplayName: "Max"}, Provider: corp.ID, Subject: "s-max"}
	made, err := w.Store.CreatePerson(t.Context(), by, p, []string{"alice", "max"}, ofDev)
	w.must(err)
	if made.Slug != "max" || made.Role != access.Member || made.Kind != access.UserKind || made.DisplayName != "Max" || made.Password != "" || made.Disabled ||
		made.Provider != corp.ID || made.Subject != "s-max" || made.LoginName != "Max" || !slices.Equal(made.Groups, ofDev.Groups) ||
		!made.GroupsUntil.Equal(w.Now().Add(ofDev.Hold)) || !made.ReadAt.Equal(w.Now()) || !made.EndedAt.IsZero() {
		t.Errorf("%+v", made)
	}
	for name, by := range map[string]meta.Cause{"the same request": by, "another login": cause()} {
		if again, err := w.Store.CreatePerson(t.Context(), by, p, []string{"other"}, ofDev); err != nil || again.ID != made.ID || again.Slug != "max" {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	p.Subject = "s-another"
	_, err = w.Store.CreatePerson(t.Context(), cause(), p, []string{"alice", "max"}, ofDev)
	w.refused(err, fault.Conflict, fault.AlreadyExists)
	for name, want := range map[string]meta.Namesake{"max": {Slug: "max", Provider: corp.ID, LoginName: "Max"}, "alice": {Slug: "alice"}} {
		if found, err := w.Store.FindNamesakes(t.Context(), w.tenant, name); err != nil || !slices.Contains(found, want) || slices.ContainsFunc(found, func(n meta.Namesake) bool { return n != want }) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	if local := w.person("alice"); local.Provider != 0 || local.Password == "" {
		t.Errorf("%+v", local)
	}
	_, err = w.Store.FindPerson(t.Context(), w.tenant, "stranger")
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	other, _ := w.addTenant("other", 0)
	_, err = w.Store.FindPersonBySubject(t.Context(), other, corp.ID, "s-max")
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	if e := w.events("", 1)[0]; e.Verb != "user.create" || e.Target != "users/max" {
		t.Errorf("%+v", e)
	}
	w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.UserKind, "max", 0))
	_, err = w.Store.FindPersonBySubject(t.Context(), w.tenant, corp.ID, "s-max")
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	w.consistent()
}

func testPersonGroups(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(w.tenant, "corp")
	w.addIdentityGroup("dev", corp, "dev")
	w.addIdentityGroup("qa", w.addProvider(meta.Deployment, "corp"), "dev") // of another provider
	somebody := w.addPerson(corp, "max", "s-max")
	_, err := w.Store.CreatePrincipalGroup(t.Context(), cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "both", Members: []string{"users/max"}, Identities: []meta.GroupIdentity{{Provider: corp.ID, Group: "staff"}}})
	w.must(err)
	w.groupsOf("users/max", 3, "groups/both", "groups/dev")
	w.groupsOf("serviceAccounts/max", 3)

	w.Advance(ofDev.Hold - time.Second)
	w.groupsOf("users/max", 3, "groups/both", "groups/dev")
	w.Advance(2 * time.Second)
	w.groupsOf("users/max", 3, "groups/both") // by name alone
	w.record("max", ofDev)
	w.groupsOf("users/max", 4, "groups/both", "groups/dev")                            // which had ended
	w.must(w.Store.RecordPerson(t.Context(), cause(), somebody, meta.PersonReading{})) // said before that
	w.record("max", ofDev)
	w.groupsOf("users/max", 4, "groups/both", "groups/dev") // nothing changed
	left := ofDev
	left.Groups, left.LoginName = []string{"staff"}, "max.m"
	w.record("max", left)
	w.groupsOf("users/max", 5, "groups/both")
	if found, err := w.Store.FindNamesakes(t.Context(), w.tenant, "max.m"); err != nil || len(found) != 1 || found[0].Slug != "max" {
		t.Errorf("%+v, %v", found, err)
	}
	if p := w.person("max"); p.LoginName != "max.m" || !slices.Equal(p.Groups, left.Groups) {
		t.Errorf("%+v", p)
	}
	changes, err := meta.DecodeChanges(w.events("", 1)[0].Changes)
	if e := w.events("", 1)[0]; err != nil || e.Verb != "user.groups" || e.Target != "users/max" || !slices.Equal(changes, []meta.Change{{Field: "groups", Old: "dev"}}) {
		t.Errorf("%+v, %v, %v", e, changes, err)
	}
	w.record("max", meta.PersonReading{LoginName: "max", Next: time.Minute, Hold: time.Minute})
	w.groupsOf("users/max", 6, "groups/both") // by name
}

func testPersonEnds(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(w.tenant, "corp")
	w.addIdentityGroup("dev", corp, "dev")
	somebody := w.addPerson(corp, "max", "s-max")
	hash := sha256.Sum256([]byte("token"))
	_, err := w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "max", meta.AccountKey{Name: "laptop", Hash: hash})
	w.must(err)
	w.must(w.Store.CreateSession(t.Context(), cause(), meta.Session{SessionOwner: meta.SessionOwner{Tenant: w.tenant, Account: somebody.ID, Actor: "users/max"}, Name: "s", Hash: hash}, somebody.Epoch))
	w.must(w.Store.CreateRefreshToken(t.Context(), somebody.Principal(), meta.RefreshToken{Name: "r", Hash: hash}, time.Hour))

	w.Advance(time.Minute)
	w.must(w.Store.EndPerson(t.Context(), cause(), somebody))
	ended := w.person("max")
	if !ended.Disabled || !ended.EndedAt.Equal(w.Now()) || ended.Epoch != somebody.Epoch+1 || len(ended.Groups) != 0 {
		t.Errorf("%+v", ended)
	}
	w.groupsOf("users/max", 1)
	_, err = w.Store.FindAccountByKey(t.Context(), w.tenant, "max", hash)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	_, _, err = w.Store.FindAccountSession(t.Context(), hash)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	_, _, err = w.Store.FindAccountByRefreshToken(t.Context(), w.tenant, hash)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	if revoked, err := w.Store.ListRevocations(t.Context(), time.Hour, 9); err != nil || len(revoked) != 1 || revoked[0].Account != somebody.ID || revoked[0].Key != "" {
		t.Errorf("%+v, %v", revoked, err)
	}
	if e := w.events("", 1)[0]; e.Verb != "user.end" || e.Target != "users/max" {
		t.Errorf("%+v", e)
	}
	w.must(w.Store.RecordPerson(t.Context(), cause(), somebody, ofDev)) // too late
	w.must(w.Store.EndPerson(t.Context(), cause(), somebody))           // again
	w.groupsOf("users/max", 1)

	w.must(w.Store.ReturnPerson(t.Context(), cause(), ended))
	w.record("max", ofDev)
	w.groupsOf("users/max", 2, "groups/dev")
	back := w.person("max")
	if back.Disabled || !back.EndedAt.IsZero() {
		t.Errorf("%+v", back)
	}
	back.Disabled = true // by an administrator
	_, err = w.Store.UpdateAccount(t.Context(), cause(), back.Account)
	w.must(err)
	w.refused(w.Store.ReturnPerson(t.Context(), cause(), back), fault.NotFound, fault.ResourceUnknown)
	if p := w.person("max"); !p.Disabled {
		t.Errorf("%+v", p)
	}
}

func testProviderEnds(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(meta.Deployment, "corp")
	w.addIdentityGroup("dev", corp, "dev")
	w.addPerson(corp, "max", "s-max")
	other, _ := w.addTenant("other", 0)
	version := int64(1)
	offered := corp
	offered.Version = 0
	for name, change := range map[string]func(*meta.IdentityProvider){
		"disabled":    func(p *meta.IdentityProvider) { p.Disabled = true },
		"not offered": func(p *meta.IdentityProvider) { p.Tenants = []tenant.ID{other} },
	} {
		_, err := w.Store.UpdateIdentityProvider(t.Context(), cause(), offered)
		w.must(err)
		w.Advance(time.Second)
		w.record("max", ofDev)
		_, version, _ = w.Store.GroupsOf(t.Context(), w.tenant, "users/max")
		w.groupsOf("users/max", version, "groups/dev")
		changed := offered
		change(&changed)
		_, err = w.Store.UpdateIdentityProvider(t.Context(), cause(), changed)
		w.must(err)
		if groups, now, err := w.Store.GroupsOf(t.Context(), w.tenant, "users/max"); err != nil || len(groups) != 0 || now <= version {
			t.Errorf("%s: %q at version %d after %d, %v", name, groups, now, version, err)
		}
		w.refusesReadings("max")
	}
	_, err := w.Store.UpdateIdentityProvider(t.Context(), cause(), offered)
	w.must(err)
	before := w.person("max")
	w.record("max", ofDev)
	w.Advance(time.Minute)
	w.must(w.Store.RevokeTokens(t.Context(), cause(), w.tenant, access.UserKind, "max"))
	groups, now, err := w.Store.GroupsOf(t.Context(), w.tenant, "users/max")
	if due, failed := w.Store.DuePeople(t.Context(), 0, 9); err != nil || failed != nil || len(groups) != 0 || now <= version || len(due) != 1 || !due[0].ReadAt.Equal(w.Now()) {
		t.Errorf("revoked: %q, due %+v, %v, %v", groups, due, err, failed)
	}
	w.must(w.Store.RecordPerson(t.Context(), cause(), before, ofDev)) // said before that
	w.groupsOf("users/max", now)
	w.must(w.Store.DeletePrincipalGroup(t.Context(), cause(), w.tenant, "dev", 0))
	w.must(w.Store.DeleteIdentityProvider(t.Context(), cause(), meta.Deployment, "corp", 0))
	due, err := w.Store.DuePeople(t.Context(), 0, 9)
	if err != nil || len(due) != 1 || due[0].Provider != -corp.ID || due[0].Slug != "max" {
		t.Errorf("due %+v, %v", due, err)
	}
	w.refusesReadings("max")
	w.must(w.Store.PostponePerson(t.Context(), before)) // by what was known before it was deleted
	w.due(0, "max")
}

// record keeps what the provider says of a person now.
func (w world) record(slug string, r meta.PersonReading) {
	w.t.Helper()
	w.must(w.Store.RecordPerson(w.t.Context(), cause(), w.person(slug), r))
}

// refusesReadings checks that what the person's provider says is not kept, also where it is said of
// others, or was said before.
func (w world) refusesReadings(slug string) {
	w.t.Helper()
	p := w.person(slug)
	provider := max(p.Provider, -p.Provider)
	p.Provider = provider
	w.refused(w.Store.RecordPerson(w.t.Context(), cause(), p, ofDev), fault.NotFound, fault.ResourceUnknown)
	w.refused(w.Store.ReturnPerson(w.t.Context(), cause(), p), fault.NotFound, fault.ResourceUnknown)
	another := meta.Person{Account: meta.Account{Tenant: w.tenant}, Provider: provider, Subject: "s-another"}
	_, err := w.Store.CreatePerson(w.t.Context(), cause(), another, []string{"another"}, ofDev)
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
}

func (w world) person(slug string) meta.Person {
	w.t.Helper()
	p, err := w.Store.FindPerson(w.t.Context(), w.tenant, slug)
	w.must(err)
	return p
}

// addPerson is a first login of somebody in the group dev.
func (w world) addPerson(provider meta.IdentityProvider, slug, subject string) meta.Person {
	w.t.Helper()
	p := meta.Person{Account: meta.Account{Tenant: w.tenant}, Provider: provider.ID, Subject: subject}
	made, err := w.Store.CreatePerson(w.t.Context(), cause(), p, []string{slug}, ofDev)
	w.must(err)
	return made
}
