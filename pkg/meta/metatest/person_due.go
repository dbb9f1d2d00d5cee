package metatest

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

func testDuePeople(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp, second := w.addProvider(w.tenant, "corp"), w.addProvider(w.tenant, "second")
	somebody := w.addPerson(corp, "max", "s-max")
	w.due(0)
	w.Advance(ofDev.Next)
	w.due(0, "max")
	w.due(time.Second)
	w.Advance(time.Second)
	w.addPerson(second, "eve", "s-eve")
	w.due(time.Second, "max")
	w.must(w.Store.PostponePeople(t.Context(), corp.ID, time.Minute))
	w.due(0)
	w.Advance(ofDev.Next)
	w.due(0, "max", "eve")

	early := ofDev
	early.Login = true
	w.record("max", early) // a login reads what may be remembered
	w.due(0, "max", "eve")
	w.record("max", ofDev)
	w.due(0, "eve")

	w.Advance(meta.PersonSeen)
	w.active(false, false)
	_, err := w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "max", meta.AccountKey{Name: "laptop"})
	w.must(err)
	w.active(true, false)
	for _, p := range []meta.Person{somebody, w.person("eve")} {
		w.must(w.Store.PostponePerson(t.Context(), p))
	}
	w.due(0)
	_, err = w.Store.CreateAccountKey(t.Context(), cause(), w.tenant, access.UserKind, "max", meta.AccountKey{Name: "phone"})
	w.must(err)
	w.due(0, "max")
	hash := sha256.Sum256([]byte("token"))
	for _, login := range []func() error{
		func() error {
			return w.Store.CreateRefreshToken(t.Context(), somebody.Principal(), meta.RefreshToken{Name: "r", Hash: hash}, time.Hour)
		},
		func() error {
			return w.Store.CreateSession(t.Context(), cause(), meta.Session{SessionOwner: meta.SessionOwner{Tenant: w.tenant, Account: somebody.ID, Actor: "users/max"}, Name: "s", Hash: hash}, somebody.Epoch)
		},
	} {
		w.must(w.Store.PostponePerson(t.Context(), somebody))
		w.due(0)
		w.must(login())
		w.due(0, "max")
	}
	w.must(w.Store.PostponePerson(t.Context(), somebody))
	_, err = w.Store.UpdateIdentityProvider(t.Context(), cause(), corp)
	w.must(err)
	w.due(0, "max")
	w.must(w.Store.EndPerson(t.Context(), cause(), somebody))
	w.due(0)
}

// due checks who has been due for so long.
func (w world) due(since time.Duration, want ...string) {
	w.t.Helper()
	people, err := w.Store.DuePeople(w.t.Context(), since, 9)
	w.must(err)
	var got []string
	for _, p := range people {
		got = append(got, p.Slug)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("due are %q, want %q", got, want)
	}
	if len(want) > 0 {
		if first, err := w.Store.DuePeople(w.t.Context(), since, 1); err != nil || len(first) != 1 || first[0].Slug != want[0] {
			w.t.Errorf("the first is %+v, %v", first, err)
		}
	}
}

// active checks of the people who are due, by name, whether there is anything to decide.
func (w world) active(wantMax, wantEve bool) {
	w.t.Helper()
	people, err := w.Store.DuePeople(w.t.Context(), 0, 9)
	w.must(err)
	got := map[string]bool{}
	for _, p := range people {
		got[p.Slug] = p.Active
	}
	if len(got) != 2 || got["max"] != wantMax || got["eve"] != wantEve {
		w.t.Errorf("active are %v", got)
	}
}
