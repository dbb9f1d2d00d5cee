package access

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
)

// TestU93_AnExplanationIsTheDecision explains decisions by random rules: a rule counts if and
// only if it misses nothing, and without what decided, the decision is another one.
func TestU93_AnExplanationIsTheDecision(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	choose := func(from ...string) string { return from[r.IntN(len(from))] }
	for range 4000 {
		rules := randomRules(r)
		s := site
		s.Settings.AnonymousPull, s.Settings.AnonymousPush, s.Settings.ReadOnly = r.IntN(4) == 0, r.IntN(6) == 0, r.IntN(6) == 0
		who := []Principal{ci, other, {}, {Name: ci.Name, Tenant: 7, Role: Writer}, {Name: ci.Name, Tenant: 8, Role: Admin}}[r.IntN(5)]
		from := []netip.Addr{office, netip.MustParseAddr("198.51.100.1"), {}}[r.IntN(3)]
		groups := []string{"groups/dev", "groups/ops", "groups/none"}[r.IntN(3):]
		repository := choose("a", "b", "a/b", "a/b/ab", "ab/a-b")
		decide := func(rules []Rule) Rights { return NewPolicy(1, rules).Rights(&s, who, from, groups...) }
		rights := decide(rules)
		e := rights.Explain(repository)
		if got := rights.Allowed(repository); e.Allowed&^Manage != got&^Manage || e.Allowed.Has(Manage) != rights.ManagesRepository(repository) {
			t.Fatalf("explained is %v, decided %v", e.Allowed, got)
		}
		for i := range rules {
			counts := slices.ContainsFunc(slices.Concat(e.giving, e.taking), func(r Reason) bool { return r.Kind == ByRule && r.Rule.Slug == rules[i].Slug })
			if misses := rights.Misses(&rules[i], repository, SetOfGroups(groups)); counts != (misses == 0) {
				t.Fatalf("%+v counts for %s in %q: %t, and misses %b", rules[i], who.Actor(), repository, counts, misses)
			}
		}
		for _, n := range actionNames {
			because := e.Because(n.action)
			if e.Allowed.Has(n.action) && len(because) == 0 {
				t.Fatalf("%v is allowed for no reason\nrules %+v", n.name, rules)
			}
			left := slices.DeleteFunc(slices.Clone(rules), func(rule Rule) bool {
				return slices.ContainsFunc(because, func(r Reason) bool { return r.Kind == ByRule && r.Rule.Slug == rule.Slug })
			})
			byRulesAlone := len(because) > 0 && !slices.ContainsFunc(because, func(r Reason) bool { return r.Kind != ByRule })
			without := decide(left)
			if after := without.Explain(repository).Allowed; byRulesAlone && after.Has(n.action) == e.Allowed.Has(n.action) {
				t.Fatalf("%v is decided by %+v, and without these it is the same\nrules %+v", n.name, because, rules)
			}
		}
	}
}

// randomRules are few, of few names.
func randomRules(r *rand.Rand) []Rule {
	pick := func(from []string) []string {
		var some []string
		for _, one := range from {
			if r.IntN(3) == 0 {
				some = append(some, one)
			}
		}
		return some
	}
	var rules []Rule
	for i := range r.IntN(8) {
		rule := Rule{
			Slug: string(rune('a' + i)), Deny: r.IntN(3) == 0, Actions: Actions(r.IntN(256)),
			Principals:   pick([]string{ci.Name, other.Name, Authenticated, AnonymousPrincipal, "groups/dev", "groups/ops"}),
			Registries:   pick([]string{"dev", "prod", "d*"}),
			Repositories: pick([]string{"a", "b", "a/**", "**", "*/b", "a/*/ab", "[ab]", "ab/a-b"}),
		}
		for _, text := range pick([]string{"192.0.2.0/24", "203.0.113.0/24"}) {
			rule.Networks = append(rule.Networks, netip.MustParsePrefix(text))
		}
		if r.IntN(3) == 0 {
			rule.Until = time.Now().Add(time.Duration(r.IntN(2)*2-1) * time.Hour)
		}
		rules = append(rules, rule)
	}
	return rules
}

// TestU93_ReasonsSayWhatDecides, case by case.
func TestU93_ReasonsSayWhatDecides(t *testing.T) {
	named := func(slug string, r Rule) Rule {
		r.Slug = slug
		return r
	}
	rules := []Rule{
		named("give", allow("groups/dev", "foo/**", Pull|Push|Fill)),
		named("take", deny(Authenticated, "foo/img", Push)),
		named("other", allow(other.Name, "foo/**", Delete)),
	}
	s := site
	s.Settings.AnonymousPull = true
	rights := NewPolicy(1, rules).Rights(&s, ci, office, "groups/dev")
	e := rights.Explain("foo/img")
	for action, want := range map[Actions][]Reason{
		Pull:   {{Kind: ByAnonymousPull}, {Kind: ByRule, Match: Match{&rules[0], "foo/**", "groups/dev"}}},
		Push:   {{Kind: ByRule, Match: Match{&rules[1], "foo/img", Authenticated}}},
		Delete: nil,
	} {
		got := e.Because(action)
		for i := range got {
			got[i].Actions = 0
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: %+v, want %+v", action, got, want)
		}
	}
	if got := e.Overruled(Push); len(got) != 1 || got[0].Rule != &rules[0] || len(e.Overruled(Pull)) != 0 {
		t.Errorf("overruled %+v", got)
	}
	if got := rights.Misses(&rules[2], "bar", nil); got != MissPrincipal|MissRepository {
		t.Errorf("misses %b", got)
	}
}
