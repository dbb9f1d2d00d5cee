package identity

import (
	"strings"
	"testing"
)

func TestTextOfAnIdentity(t *testing.T) {
	id := New()
	id.Generation = 1 << 60
	if got, err := Parse(id.Marshal()); err != nil || got != id {
		t.Errorf("%v, %v; want %v", got, err, id)
	}
	for _, text := range []string{
		"", "{}", "null", "[]", `{"deployment":"00000000-0000-0000-0000-000000000000","generation":1}`,
		`{"deployment":"7b0c6c0e-5b0e-4d4b-8a1e-0d0b2f3c4d5e","generation":-1}`, `{"deployment":7}`,
		string(id.Marshal()) + strings.Repeat(" ", MaxBytes),
	} {
		if got, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(New().Marshal())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, err := Parse(text); err == nil && (id.IsZero() || id.Generation < 0) {
			t.Errorf("%q is %v", text, id)
		}
	})
}

func TestState(t *testing.T) {
	ours, theirs := New(), New()
	at := func(id Identity, generation int64) Identity {
		id.Generation = generation
		return id
	}
	none := Identity{}
	together := Sample{Rows: 9, Live: 8, Found: 7, Stored: 9, Unknown: 2}
	for _, c := range []struct {
		what      string
		db, store Identity
		sample    Sample
		want      State
	}{
		{"a first start", none, none, Sample{}, Empty},
		{"one that was cut off after the database", at(ours, 0), none, Sample{}, Empty},
		{"one that was cut off after the store", at(ours, 0), at(ours, 0), Sample{}, Agree},
		{"one that was cut off at the end", at(ours, 1), at(ours, 0), Sample{}, Agree},
		{"an ordinary start", at(ours, 5), at(ours, 5), Sample{}, Agree},
		{"the database is ahead", at(ours, 9), at(ours, 5), Sample{}, Agree},
		{"a backup of the database", at(ours, 4), at(ours, 5), together, Behind},
		{"a backup of a first start", at(ours, 0), at(ours, 5), together, Behind},
		{"a backup of before there were identities", none, at(ours, 5), together, Behind},
		{"the store of another", at(ours, 5), at(theirs, 5), together, Foreign},
		{"the store of another that is behind", at(ours, 5), at(theirs, 0), together, Foreign},
		{"an empty store", at(ours, 1), none, Sample{Rows: 2, Live: 2}, NoStore},
		{"a store without its identity", at(ours, 1), none, together, NoStore},
		{"an empty database", none, at(ours, 1), Sample{Stored: 3, Unknown: 3}, NoDatabase},
		{"an empty database and an empty store of another", none, at(ours, 1), Sample{}, NoDatabase},

		{"the version before", none, none, together, Unnamed},
		{"the version before, the upgrade was cut off", at(ours, 0), none, together, Unnamed},
		{"the version before, nothing live", none, none, Sample{Rows: 3, Stored: 1}, Unnamed},
		{"the version before, all bytes lost", none, none, Sample{Rows: 3, Live: 3}, NoStore},
		{"the version before, most bytes lost", none, none, Sample{Rows: 3, Live: 3, Found: 1, Stored: 1}, NoStore},
		{"the version before, without its database", none, none, Sample{Stored: 1, Unknown: 1}, NoDatabase},
		{"the version before, with the database of another", none, none, Sample{Rows: 3, Live: 3, Stored: 3, Unknown: 3}, NoStore},
		{"the version before, most objects unknown", none, none, Sample{Rows: 2, Live: 2, Found: 2, Stored: 5, Unknown: 3}, NoDatabase},
	} {
		p := Pair{Database: c.db, Store: c.store}
		if got := p.State(c.sample); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
		if !p.NeedsSample() && p.State(Sample{}) != p.State(Sample{Rows: 9, Live: 9, Stored: 9, Unknown: 9}) {
			t.Errorf("%s: the sample counts", c.what)
		}
	}
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		state                    State
		plain, restored, another bool
	}{
		{Agree, true, true, true},
		{Empty, true, true, true},
		{Unnamed, true, true, true},
		{Behind, false, true, false},
		{Foreign, false, false, true},
		{NoStore, false, false, true},
		{NoDatabase, false, false, true},
	} {
		got := [3]bool{Accepted{}.Allows(c.state), Accepted{Restored: true}.Allows(c.state), Accepted{Store: true}.Allows(c.state)}
		if got != [3]bool{c.plain, c.restored, c.another} {
			t.Errorf("state %d: %v", c.state, got)
		}
	}
}
