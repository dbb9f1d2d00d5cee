package metatest

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func testRefreshes(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(w.tenant, "corp")
	w.addPerson(corp, "max", "s-max")
	w.tries(w.person("max"), false) // without a token
	w.logsIn("max", "first")
	first := w.person("max")
	w.wantRefresh("first", false)
	w.tries(first, true)
	w.tries(first, false) // another process uses it
	w.wantRefresh("first", true)
	w.Advance(meta.RefreshTry)
	w.tries(first, true) // which has died
	w.must(w.Store.KeepRefresh(t.Context(), first, []byte("second")))
	w.wantRefresh("second", false)
	w.must(w.Store.KeepRefresh(t.Context(), first, []byte("late")))
	w.tries(first, false)
	w.wantRefresh("second", false)

	w.must(w.Store.RecordPerson(t.Context(), cause(), first, ofDev)) // which reading again does
	w.wantRefresh("second", false)
	second := w.person("max")
	w.tries(second, true)
	w.logsIn("max", "third")
	w.wantRefresh("third", false)
	w.must(w.Store.LoseRefresh(t.Context(), second))
	if p := w.person("max"); string(p.Refresh) != "third" || !p.GroupsUntil.After(w.Now()) {
		t.Errorf("a refresh token that was replaced was lost: %+v", p)
	}
	w.must(w.Store.LoseRefresh(t.Context(), w.person("max")))
	if p := w.person("max"); len(p.Refresh) != 0 || p.GroupsUntil.After(w.Now()) || p.Disabled {
		t.Errorf("%+v", p)
	}
	w.logsIn("max", "fourth")
	w.must(w.Store.EndPerson(t.Context(), cause(), w.person("max")))
	w.wantRefresh("", false)
	w.logsIn("max", "") // who is disabled
	w.consistent()
}

// logsIn records a login that brought a refresh token.
func (w world) logsIn(slug, refresh string) {
	w.t.Helper()
	r := ofDev
	r.Login, r.Refresh = true, []byte(refresh)
	w.must(w.Store.RecordPerson(w.t.Context(), cause(), w.person(slug), r))
}

func (w world) tries(p meta.Person, want bool) {
	w.t.Helper()
	if got, err := w.Store.TryRefresh(w.t.Context(), p); err != nil || got != want {
		w.t.Errorf("try %q: %t, %v", p.Refresh, got, err)
	}
}

// wantRefresh checks the refresh token of max, and whether its use has begun, as all readers see it.
func (w world) wantRefresh(want string, tried bool) {
	w.t.Helper()
	found := w.person("max")
	bySubject, err := w.Store.FindPersonBySubject(w.t.Context(), w.tenant, found.Provider, found.Subject)
	w.must(err)
	all := []meta.Person{found, bySubject}
	w.Advance(ofDev.Next)
	due, err := w.Store.DuePeople(w.t.Context(), 0, 9)
	w.must(err)
	for _, p := range append(all, due...) {
		if string(p.Refresh) != want || p.RefreshTriedAt.IsZero() == tried {
			w.t.Errorf("%q since %v, want %q, %t", p.Refresh, p.RefreshTriedAt, want, tried)
		}
	}
}

func testFinishedLogins(t *testing.T, open Open) {
	w := newWorld(t, open)
	state := sha256.Sum256([]byte("state"))
	w.must(w.Store.FinishLogin(t.Context(), state, time.Minute))
	w.refused(w.Store.FinishLogin(t.Context(), state, time.Minute), fault.Conflict, fault.AlreadyExists)
	w.must(w.Store.FinishLogin(t.Context(), sha256.Sum256([]byte("another")), time.Minute))
	w.Advance(time.Minute + time.Second)
	_, err := w.Store.TrimTokens(t.Context(), 1)
	w.must(err)
	w.must(w.Store.FinishLogin(t.Context(), state, time.Minute)) // its row is gone
}
