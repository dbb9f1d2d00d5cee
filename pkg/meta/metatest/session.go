package metatest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func testSessions(t *testing.T, open Open) {
	t.Run("U103 end when they are not used, and in any case", func(t *testing.T) { testSessionTimes(t, open) })
	t.Run("U104 of an account end with the key", func(t *testing.T) { testSessionsOfKey(t, open) })
	t.Run("U104 of an account end with what it loses", func(t *testing.T) { testSessionsOfAccount(t, open) })
	t.Run("U104 of an account end with its tenant", func(t *testing.T) { testSessionsOfTenant(t, open) })
	t.Run("U104 of an operator end with what it loses", func(t *testing.T) { testOperatorSessions(t, open) })
	t.Run("U103 are so many and no more", func(t *testing.T) {
		w := newWorld(t, open)
		alice, bob := w.addUser("alice"), w.addUser("bob")
		w.session(bob, "other", "")
		w.session(alice, "first", "")
		for i := range meta.MaxSessions {
			w.Advance(time.Second)
			w.session(alice, fmt.Sprintf("s%03d", i), "")
		}
		rows, err := w.Store.ListSessions(t.Context(), ownerOf(alice))
		if err != nil || len(rows) != meta.MaxSessions || rows[0].Name != "s000" {
			t.Errorf("%d sessions, %v", len(rows), err)
		}
		w.found(bob, "other", true)
		w.found(alice, "first", false)
	})
	t.Run("U102 come with an upgrade", func(t *testing.T) {
		w := newWorld(t, open)
		w.must(w.SQL.Exec(`DROP TABLE sessions;`)) // as it was before
		step, err := fs.ReadFile(w.SQL.Steps, "0031_sessions.sql")
		w.must(err)
		w.must(w.SQL.Exec(string(step)))
		alice := w.addUser("alice")
		w.session(alice, "s", "")
		w.found(alice, "s", true)
	})
}

func ownerOf(a meta.Account) meta.SessionOwner {
	return meta.SessionOwner{Tenant: a.Tenant, Account: a.ID, Actor: a.Principal().Name}
}

// secretOf is the hash of the secret of a session.
func secretOf(o meta.SessionOwner, name string) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d %d %s", o.Tenant, o.Account, name))
}

// session makes a session of an account that was logged in with a key, or a password.
func (w world) session(a meta.Account, name, key string) {
	w.t.Helper()
	o := ownerOf(a)
	w.must(w.Store.CreateSession(w.t.Context(), cause(), meta.Session{SessionOwner: o, Name: name, Hash: secretOf(o, name), Key: key}, a.Epoch))
}

// found compares whether the account has the session.
func (w world) found(a meta.Account, name string, want bool) {
	w.t.Helper()
	login, s, err := w.Store.FindAccountSession(w.t.Context(), secretOf(ownerOf(a), name))
	switch {
	case !want:
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	case err != nil || s.Name != name || s.SessionOwner != ownerOf(a) || login.ID != a.ID || login.Key != s.Key:
		w.t.Errorf("%s: %+v of %+v, %v", name, s, login, err)
	}
}

func testSessionTimes(t *testing.T, open Open) {
	w := newWorld(t, open)
	alice := w.addUser("alice")
	o, by := ownerOf(alice), cause()
	made := meta.Session{SessionOwner: o, Name: "s", Hash: secretOf(o, "s"), UserAgent: "Firefox", CreatedFrom: "192.0.2.1"}
	for range 2 { // the same request again
		w.must(w.Store.CreateSession(t.Context(), by, made, alice.Epoch))
	}
	want := made
	want.CreatedAt, want.LastUsedAt, want.LastUsedFrom, want.EndsAt = w.Now(), w.Now(), "192.0.2.1", w.Now().Add(meta.SessionIdle)
	listed := func() {
		t.Helper()
		if rows, err := w.Store.ListSessions(t.Context(), o); err != nil || len(rows) != 1 || rows[0] != want {
			t.Errorf("%+v, %v; want %+v", rows, err, want)
		}
	}
	listed()
	if e := w.events("", 1)[0]; e.Verb != "session.create" || e.Target != "users/alice/sessions/s" {
		t.Errorf("%+v", e)
	}
	w.Advance(meta.SessionUse / 2)
	w.must(w.Store.UseSession(t.Context(), want, "192.0.2.2")) // too soon to be noted
	listed()
	begun := want.CreatedAt
	for w.Now().Before(begun.Add(meta.SessionLife - meta.SessionIdle)) {
		w.Advance(meta.SessionIdle - time.Minute)
		w.must(w.Store.UseSession(t.Context(), want, "192.0.2.2"))
		want.LastUsedAt, want.LastUsedFrom, want.EndsAt = w.Now(), "192.0.2.2", w.Now().Add(meta.SessionIdle)
		if last := begun.Add(meta.SessionLife); want.EndsAt.After(last) {
			want.EndsAt = last
		}
		listed()
		w.found(alice, "s", true)
	}
	if !want.EndsAt.Equal(begun.Add(meta.SessionLife)) {
		t.Errorf("it ends at %s", want.EndsAt)
	}
	w.session(alice, "idle", "")
	w.Advance(meta.SessionIdle)
	w.found(alice, "s", false)
	w.found(alice, "idle", false)
	if rows, err := w.Store.ListSessions(t.Context(), o); err != nil || len(rows) != 0 {
		t.Errorf("%+v, %v", rows, err)
	}
	w.Advance(time.Second)
	if n, err := w.Store.TrimTokens(t.Context(), 100); err != nil || n < 2 {
		t.Errorf("%d rows are removed, %v", n, err)
	}
	w.refused(w.Store.DeleteSession(t.Context(), cause(), o, "s"), fault.NotFound, fault.ResourceUnknown)
}

func testOperatorSessions(t *testing.T, open Open) {
	w := newWorld(t, open)
	alice, err := w.Store.CreateOperator(t.Context(), cause(), meta.Operator{Slug: "alice"})
	w.must(err)
	token := meta.AccountKey{Name: "laptop", Hash: sha256.Sum256([]byte("token")), ExpiresAt: w.Now().Add(time.Hour)}
	o := meta.SessionOwner{Tenant: meta.Deployment, Account: alice.ID, Actor: "operators/alice"}
	nameless := meta.SessionOwner{Tenant: meta.Deployment, Actor: "operator"}
	begin := func(o meta.SessionOwner) {
		t.Helper()
		w.must(w.Store.CreateSession(t.Context(), cause(), meta.Session{SessionOwner: o, Name: "s", Hash: secretOf(o, "s"), Key: "laptop"}, 0))
	}
	found := func(o meta.SessionOwner, want bool) {
		t.Helper()
		s, err := w.Store.FindOperatorSession(t.Context(), secretOf(o, "s"))
		if !want {
			w.refused(err, fault.NotFound, fault.ResourceUnknown)
		} else if err != nil || s.SessionOwner != o || s.Key != "laptop" {
			t.Errorf("%+v, %v", s, err)
		}
	}
	again := func() {
		t.Helper()
		_, err := w.Store.CreateOperatorToken(t.Context(), cause(), "alice", token)
		w.must(err)
		begin(o)
		found(o, true)
	}
	begin(nameless)
	again()
	w.deploymentEvents("session.create operators/alice/sessions/s", "operatorToken.create operators/alice/tokens/laptop", "session.create operator/sessions/s")
	_, _, err = w.Store.FindAccountSession(t.Context(), secretOf(o, "s"))
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	w.must(w.Store.DeleteOperatorToken(t.Context(), cause(), "alice", "laptop"))
	found(o, false)
	again()
	for _, disabled := range []bool{true, false} {
		alice.Disabled = disabled
		alice, err = w.Store.UpdateOperator(t.Context(), cause(), alice)
		w.must(err)
		found(o, false)
	}
	begin(o)
	w.Advance(time.Hour) // the token ends
	found(o, false)
	token.Name, token.ExpiresAt = "laptop", w.Now().Add(time.Hour)
	w.must(w.Store.DeleteOperatorToken(t.Context(), cause(), "alice", "laptop"))
	again()
	w.must(w.Store.DeleteOperator(t.Context(), cause(), "alice", 0))
	found(o, false)
	found(nameless, true)
	w.must(w.Store.DeleteSessions(t.Context(), cause(), nameless))
	found(nameless, false)
	w.deploymentEvents("session.delete operator/sessions/-", "operator.delete operators/alice")
}
