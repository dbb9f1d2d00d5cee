package metatest

import (
	"testing"
	"time"
)

func testApart(t *testing.T, open Open) {
	w := newWorld(t, open)
	corp := w.addProvider(w.tenant, "corp")
	somebody := w.addPerson(corp, "max", "s-max")
	other := w.addPerson(corp, "other", "s-other")
	apart := func(want string) {
		t.Helper()
		bySubject, err := w.Store.FindPersonBySubject(t.Context(), w.tenant, corp.ID, "s-max")
		w.must(err)
		namesakes, err := w.Store.FindNamesakes(t.Context(), w.tenant, "max")
		w.must(err)
		for _, n := range namesakes { // by the ID, and two by what they log in with
			if n.Slug == "max" && n.Apart != want || n.Slug == "other" && n.Apart != "" {
				t.Errorf("%+v, want %q", n, want)
			}
		}
		if got := w.person("max"); len(namesakes) != 3 || got.Apart != want || bySubject.Apart != want {
			t.Errorf("%q and %q of %d namesakes, want %q", got.Apart, bySubject.Apart, len(namesakes), want)
		}
	}
	apart("")
	for _, digest := range []string{"a digest", "another", "another", "", "another"} {
		w.must(w.Store.RecordApart(t.Context(), somebody, digest))
		apart(digest)
	}
	for _, login := range []bool{false, true} {
		w.Advance(time.Minute)
		r := ofDev
		r.Login = login
		w.record("max", r)
		apart("another")
	}
	if p := w.person(other.Slug); p.Apart != "" {
		t.Errorf("%+v", p)
	}
}
