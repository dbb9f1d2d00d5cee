package chain_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
)

// checked is acme, whose dev does not delegate the right to pull from prod.
func checked() meta.Topology {
	tp := acme()
	tp.Groups["below-dev"] = []meta.Member{{Registry: "prod", Checked: true}, {Registry: "main"}}
	return tp
}

// mayIn is a caller who has these rights in prod, and none elsewhere.
func mayIn(a access.Actions) chain.Caller {
	return func(r chain.Registry) access.Actions {
		if r.Slug == "prod" && r.ID == 3 {
			return a
		}
		return 0
	}
}

// TestU35_AMemberThatIsNotDelegatedAsksForTheCallersOwnRight shows who is asked, what is
// adopted and what is reached below proxy/, with and without the right to pull from prod.
func TestU35_AMemberThatIsNotDelegatedAsksForTheCallersOwnRight(t *testing.T) {
	for _, c := range []struct {
		what   string
		caller chain.Caller
		asked  string
		fill   bool // of what is below prod
	}{
		{"nothing is known of the caller", nil, "main", false},
		{"no right", mayIn(0), "main", false},
		{"another right", mayIn(access.Push), "main", false},
		{"the right to pull", mayIn(access.Pull), "prod ghcr hub main", false},
		{"the right to fill too", mayIn(access.Pull | access.Fill), "prod ghcr hub main", true},
		{"any registry", chain.PullsAll, "prod ghcr hub main", true},
	} {
		const name = "team-a/app"
		asked, err := walked(t, chain.Walk{Name: name, Caller: c.caller}, checked(), nil)
		if got := strings.Join(asked, " "); got != c.asked || !errors.Is(err, chain.ErrNotHere) {
			t.Errorf("%s: asked %s, %v; want %s", c.what, got, err, c.asked)
		}
		made, err := chain.Of(checked(), "dev")
		if err != nil {
			t.Fatal(err)
		}
		reached, err := chain.Reach(checked(), "dev", c.caller)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for _, slug := range strings.Fields(c.asked) {
			if slug == "ghcr" || slug == "hub" {
				want = append(want, slug)
			}
		}
		if got := slices.Sorted(maps.Keys(reached.Upstreams)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: reaches %v, want %v", c.what, got, want)
		}
		if got := len(made.Storages(name, c.caller)); got != len(asked) {
			t.Errorf("%s: adopts from %d storages, want %d", c.what, got, len(asked))
		}
		if got := made.Members[0].Members[0].Rights(c.caller).Has(access.Fill); got != c.fill {
			t.Errorf("%s: fills the cache of ghcr: %t", c.what, got)
		}
		if got := len(made.Registries); got != 3 {
			t.Errorf("%s: names are claimed by %d registries, want 3", c.what, got)
		}
	}
}

// TestU35_EachGroupDelegatesItsOwnMembers has a chain of three registries.
func TestU35_EachGroupDelegatesItsOwnMembers(t *testing.T) {
	for _, c := range []struct {
		prod, base bool // checked
		may        string
		asked      string
	}{
		{false, false, "", "prod base"},
		{true, false, "", ""},
		{true, false, "prod", "prod base"},
		{false, true, "", "prod"},
		{false, true, "base", "prod base"},
		{true, true, "base", ""},
		{true, true, "prod", "prod"},
		{true, true, "prod base", "prod base"},
	} {
		tp := meta.Topology{
			Registries: map[string]meta.TopologyRegistry{"dev": {ID: 1, Group: "a"}, "prod": {ID: 2, Group: "b"}, "base": {ID: 3}},
			Groups:     map[string][]meta.Member{"a": {{Registry: "prod", Checked: c.prod}}, "b": {{Registry: "base", Checked: c.base}}},
		}
		caller := func(r chain.Registry) access.Actions {
			if slices.Contains(strings.Fields(c.may), r.Slug) {
				return access.Pull
			}
			return 0
		}
		asked, _ := walked(t, chain.Walk{Name: "app", Caller: caller}, tp, nil)
		if got := strings.Join(asked, " "); got != c.asked {
			t.Errorf("%+v: asked %q", c, got)
		}
	}
}

// TestU35_ACallerWithoutACredentialIsAskedForOne where a member may have it for others.
func TestU35_ACallerWithoutACredentialIsAskedForOne(t *testing.T) {
	tp := checked()
	tp.Groups["outside"] = nil
	for name, want := range map[string]error{"app": chain.ErrLogin, "open/app": chain.ErrNotHere} {
		tp.Groups["below-dev"][0].Exclude = []string{"open/**"}
		if asked, err := walked(t, chain.Walk{Name: name, Anonymous: true}, tp, nil); !errors.Is(err, want) || strings.Join(asked, " ") != "main" {
			t.Errorf("%s: %v, %v; want %v", name, asked, err, want)
		}
	}
	if _, err := walked(t, chain.Walk{Name: "app", Anonymous: true, Caller: mayIn(access.Pull)}, tp, nil); !errors.Is(err, chain.ErrNotHere) {
		t.Errorf("everybody may pull from prod: %v", err)
	}
}

// TestU35_ForeseeIsWhatFindDoes compares it with a walk in which no member has the name.
func TestU35_ForeseeIsWhatFindDoes(t *testing.T) {
	for _, name := range []string{"app", "team-a/app", "library/a"} {
		for _, caller := range []chain.Caller{nil, mayIn(access.Pull)} {
			for _, claimed := range []bool{false, true} {
				made, err := chain.Of(checked(), "dev")
				if err != nil {
					t.Fatal(err)
				}
				w := chain.Walk{Chain: made, Name: name, Caller: caller, Claimed: func() (bool, error) { return claimed, nil }}
				foreseen := fmt.Sprint(story(w.Foresee()))
				_ = w.Find(func(*chain.Member, string) error { return chain.ErrNotHere })
				if done := fmt.Sprint(story(w.Results)); foreseen != done {
					t.Errorf("%s, claimed %t: foresees %s, does %s", name, claimed, foreseen, done)
				}
			}
		}
	}
}

// story is who is asked, and why the others are not.
func story(results []chain.Result) []string {
	var out []string
	for _, r := range results {
		said := "asked"
		if r.Err != nil && !errors.Is(r.Err, chain.ErrNotHere) {
			said = r.Err.Error()
		}
		out = append(out, r.Member.Name+" "+said)
	}
	return out
}
