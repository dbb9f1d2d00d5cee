package access

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/tenant"
)

// TestU124_AboutOneRepositoryTheSameIsDecided compares rights by random rules with those about
// one repository, in the registry and in another one.
func TestU124_AboutOneRepositoryTheSameIsDecided(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 0))
	slugs := func(reasons []Reason) string {
		var words []string
		for _, why := range reasons {
			words = append(words, fmt.Sprint(why.Kind, why.Actions, why.Principal))
			if why.Rule != nil {
				words = append(words, why.Rule.Slug)
			}
		}
		return strings.Join(words, " ")
	}
	for range 4000 {
		rules := randomRules(r)
		s := site
		s.Settings.AnonymousPull, s.Settings.ReadOnly = r.IntN(4) == 0, r.IntN(6) == 0
		who := []Principal{ci, other, {}, {Name: ci.Name, Tenant: 7, Role: Writer}}[r.IntN(4)]
		groups := []string{"groups/dev", "groups/ops", "groups/none"}[r.IntN(3):]
		repository := []string{"a", "b", "a/b", "a/b/ab", "ab/a-b"}[r.IntN(5)]
		rights := NewPolicy(1, rules).Rights(&s, who, office, groups...)
		about := rights.About(repository)
		for _, registry := range []string{"dev", "prod", "base"} {
			all, one := rights.At(registry, tenant.Settings{}), about.At(registry, tenant.Settings{})
			if registry == "dev" {
				all, one = rights, about
			}
			if got, want := one.Allowed(repository), all.Allowed(repository); got != want {
				t.Fatalf("%s of %s: %v, want %v\nrules %+v", repository, registry, got, want, rules)
			}
			got, want := one.Explain(repository), all.Explain(repository)
			if got.Allowed != want.Allowed || slugs(got.giving) != slugs(want.giving) || slugs(got.taking) != slugs(want.taking) {
				t.Fatalf("%s of %s: %+v, want %+v\nrules %+v", repository, registry, got, want, rules)
			}
			for _, why := range slices.Concat(got.giving, got.taking) {
				if why.Rule != nil && !slices.Contains(rules[why.Rule.Slug[0]-'a'].Repositories, why.Pattern) {
					t.Fatalf("%q is not a pattern of %+v", why.Pattern, why.Rule)
				}
			}
		}
	}
}
