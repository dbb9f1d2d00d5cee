package metatest

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// accountSessions are two of alice, "password" and "key", after what they were made with, and
// one of bob.
type accountSessions struct {
	world
	alice, bob meta.Account
}

func newAccountSessions(t *testing.T, open Open) *accountSessions {
	w := newWorld(t, open)
	s := &accountSessions{world: w, alice: w.addUser("alice"), bob: w.addUser("bob")}
	s.addLaptop()
	s.session(s.bob, "other", "")
	s.begin()
	return s
}

// addLaptop makes the key of alice, which ends in an hour.
func (s *accountSessions) addLaptop() {
	s.t.Helper()
	k := meta.AccountKey{Name: "laptop", Hash: sha256.Sum256([]byte("token")), ExpiresAt: s.Now().Add(time.Hour)}
	_, err := s.Store.CreateAccountKey(s.t.Context(), cause(), s.tenant, access.UserKind, "alice", k)
	s.must(err)
}

// begin makes those of alice, which are not there.
func (s *accountSessions) begin() {
	s.t.Helper()
	s.session(s.alice, "password", "")
	s.session(s.alice, "key", "laptop")
	s.left(true, true)
}

// left compares which are there; that of bob always is.
func (s *accountSessions) left(password, key bool) {
	s.t.Helper()
	s.found(s.alice, "password", password)
	s.found(s.alice, "key", key)
	s.found(s.bob, "other", true)
}

func (s *accountSessions) update(by meta.Cause, change func(*meta.Account)) {
	s.t.Helper()
	change(&s.alice)
	var err error
	s.alice, err = s.Store.UpdateAccount(s.t.Context(), by, s.alice)
	s.must(err)
}

func testSessionsOfKey(t *testing.T, open Open) {
	s := newAccountSessions(t, open)
	s.must(s.Store.DeleteAccountKey(t.Context(), cause(), s.tenant, access.UserKind, "alice", "laptop"))
	s.alice.Epoch++
	s.left(true, false)
	s.addLaptop() // another of the name
	s.left(true, false)
	s.session(s.alice, "key", "laptop")
	s.left(true, true)
	s.Advance(time.Hour) // the key ends
	s.left(true, false)
}

func testSessionsOfAccount(t *testing.T, open Open) {
	s := newAccountSessions(t, open)
	s.update(cause(), func(a *meta.Account) { a.Role, a.DisplayName = access.Admin, "A" })
	s.left(true, true)
	if login, _, err := s.Store.FindAccountSession(t.Context(), secretOf(ownerOf(s.alice), "key")); err != nil || login.Role != access.Admin {
		t.Errorf("a role counts at once: %+v, %v", login, err)
	}
	own := cause()
	own.Session = "key"
	s.update(own, func(a *meta.Account) { a.Password = "$argon2id$two" })
	s.left(false, true)
	s.update(cause(), func(a *meta.Account) { a.Password = "$argon2id$three" })
	s.left(false, false)
	s.begin()
	s.update(cause(), func(a *meta.Account) { a.Disabled = true })
	s.update(cause(), func(a *meta.Account) { a.Disabled = false })
	s.left(false, false)
	s.begin()
	s.must(s.Store.RevokeTokens(t.Context(), cause(), s.tenant, access.UserKind, "alice"))
	s.left(false, false)
	o := ownerOf(s.alice)
	s.refused(s.Store.CreateSession(t.Context(), cause(), meta.Session{SessionOwner: o, Name: "late", Hash: secretOf(o, "late")}, s.alice.Epoch), fault.NotFound, fault.ResourceUnknown)
	s.alice.Epoch++
	s.begin()
	s.must(s.Store.DeleteSession(t.Context(), cause(), o, "key"))
	s.left(true, false)
	s.must(s.Store.DeleteSessions(t.Context(), cause(), o))
	s.left(false, false)
	ended := s.events("", 1)[0]
	if ended.Verb != "session.delete" || ended.Target != "users/alice/sessions/-" {
		t.Errorf("%+v", ended)
	}
	s.must(s.Store.DeleteSessions(t.Context(), cause(), o)) // of nothing there is no event
	if e := s.events("", 1)[0]; e.ID != ended.ID {
		t.Errorf("%+v", e)
	}
	s.begin()
	s.must(s.Store.DeleteAccount(t.Context(), cause(), s.tenant, access.UserKind, "alice", 0))
	s.left(false, false)
}

func testSessionsOfTenant(t *testing.T, open Open) {
	s := newAccountSessions(t, open)
	acme := s.acme()
	acme.State = tenant.Suspended
	acme, err := s.Store.UpdateTenant(t.Context(), cause(), acme)
	s.must(err)
	s.found(s.alice, "key", false)
	acme.State = tenant.Active
	_, err = s.Store.UpdateTenant(t.Context(), cause(), acme)
	s.must(err)
	s.found(s.bob, "other", false)
	s.session(s.bob, "other", "")
	s.left(false, false)
	s.begin()
	s.must(s.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
	_, err = s.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
	s.must(err)
	s.found(s.alice, "password", false)
	s.found(s.bob, "other", false)
}
