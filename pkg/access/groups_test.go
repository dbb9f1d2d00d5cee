package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/tenant"
)

// memoryLoader has the rules of one tenant, and the groups of its principals.
type memoryLoader struct {
	rules              []Rule
	groups             map[string][]string
	version            int64
	loads, memberLoads int
}

func (l *memoryLoader) RulesOf(context.Context, tenant.ID) ([]Rule, int64, error) {
	l.loads++
	return l.rules, l.version, nil
}

func (l *memoryLoader) GroupsOf(_ context.Context, _ tenant.ID, principal string) ([]string, int64, error) {
	l.memberLoads++
	return l.groups[principal], l.version, nil
}

// TestU41_GroupsHaveRights shows what rules about groups give and take.
func TestU41_GroupsHaveRights(t *testing.T) {
	p := NewPolicy(1, []Rule{
		allow("groups/dev", "foo/img/*", Pull|Push), allow("groups/ops", "ops/**", Pull),
		deny("groups/banned", "**", Push), allow(ci.Name, "own", Pull),
	})
	for _, c := range []struct {
		who        Principal
		groups     []string
		repository string
		want       Actions
	}{
		{ci, nil, "foo/img/a", 0},
		{ci, []string{"groups/dev"}, "foo/img/a", Pull | Push},
		{ci, []string{"groups/dev"}, "foo/img/a/b", 0},
		{ci, []string{"groups/dev"}, "ops/a", 0},
		{ci, []string{"groups/unnamed", "groups/dev", "groups/ops"}, "ops/a", Pull},
		{ci, []string{"groups/dev", "groups/banned"}, "foo/img/a", Pull},
		{ci, []string{"groups/dev"}, "own", Pull},
		{other, []string{"groups/dev"}, "own", 0},
		{Principal{}, []string{"groups/dev"}, "foo/img/a", 0},
		{Principal{Name: ci.Name, Tenant: 8}, []string{"groups/dev"}, "foo/img/a", 0},
	} {
		rights := p.Rights(&site, c.who, office, c.groups...)
		if got := rights.Allowed(c.repository); got != c.want {
			t.Errorf("%s of %v may %v in %s, want %v", c.who.Actor(), c.groups, got, c.repository, c.want)
		}
		if got := rights.In(site.RegistrySlug, site.Settings, c.repository); got != c.want {
			t.Errorf("%s of %v may %v in %s by a chain, want %v", c.who.Actor(), c.groups, got, c.repository, c.want)
		}
		if !rights.Somewhere().Has(c.want) {
			t.Errorf("%s of %v may %v somewhere", c.who.Actor(), c.groups, rights.Somewhere())
		}
		if _, found := rights.Seek("", Pull); c.want.Has(Pull) && !found {
			t.Errorf("%s of %v: the catalog hides %s", c.who.Actor(), c.groups, c.repository)
		}
	}
}

// TestU41_GroupsAreLoadedOnce for a principal and a version.
func TestU41_GroupsAreLoadedOnce(t *testing.T) {
	l := &memoryLoader{rules: []Rule{allow("groups/dev", "**", Pull)}, groups: map[string][]string{ci.Name: {"groups/dev"}}, version: 1}
	p := NewPolicies(l)
	may := func(version int64, who Principal) Actions {
		t.Helper()
		s := site
		s.AccessVersion = version
		rights, err := p.Rights(t.Context(), &s, who, office)
		if err != nil {
			t.Fatal(err)
		}
		return rights.Allowed("foo")
	}
	for range 3 {
		if may(1, ci) != Pull || may(1, other) != 0 || may(1, Principal{}) != 0 {
			t.Error("the group does not decide")
		}
	}
	if l.memberLoads != 2 {
		t.Errorf("%d loads for two principals", l.memberLoads)
	}
	l.groups, l.version = nil, 2
	if got := may(2, ci); got != 0 {
		t.Errorf("taken out of the group: %v", got)
	}
	// A group that a rule names since.
	l.groups, l.version = map[string][]string{ci.Name: {"groups/ops"}}, 3
	if got := may(3, ci); got != 0 {
		t.Errorf("in a group without a rule: %v", got)
	}
	l.rules, l.version = append(l.rules, allow("groups/ops", "**", Push)), 4
	if got := may(4, ci); got != Push {
		t.Errorf("with a rule since: %v", got)
	}
}

// TestU41_SameGroupsShareAnIndex however many principals there are.
func TestU41_SameGroupsShareAnIndex(t *testing.T) {
	p := NewPolicy(1, []Rule{allow("groups/a", "**", Pull), allow("groups/b", "**", Pull)})
	for i := range 100 {
		groups := []string{"groups/a", "groups/b", fmt.Sprintf("groups/own-%d", i)}
		if i%2 == 0 {
			slices.Reverse(groups)
		}
		one, first := p.named(groups), p.named([]string{"groups/a", "groups/b"})
		if one != first {
			t.Fatalf("%v is another set", groups)
		}
	}
}

// manyGroups are 1,000 rules about 500 groups, and a principal in all of them.
func manyGroups(b *testing.B) (*Policies, tenant.Site) {
	b.Helper()
	l := &memoryLoader{groups: map[string][]string{}, version: 1}
	for i := range 500 {
		l.groups[ci.Name] = append(l.groups[ci.Name], fmt.Sprintf("groups/g%d", i))
	}
	for i := range 1000 {
		r := allow(fmt.Sprintf("groups/g%d", i%500), fmt.Sprintf("team-%d/**", i), Pull|Push)
		l.rules = append(l.rules, r)
	}
	s := site
	s.AccessVersion = 1
	return NewPolicies(l), s
}

// BenchmarkRights_1000RulesAnd500Groups decides as a request does.
func BenchmarkRights_1000RulesAnd500Groups(b *testing.B) {
	p, s := manyGroups(b)
	from := netip.MustParseAddr("192.0.2.9")
	b.ReportAllocs()
	for b.Loop() {
		rights, err := p.Rights(b.Context(), &s, ci, from)
		if err != nil || !rights.Allowed("team-999/app").Has(Push) {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify_1000RulesAnd500Groups verifies a token that was not seen before, and
// decides what its caller may do, on all processors.
func BenchmarkVerify_1000RulesAnd500Groups(b *testing.B) {
	r := newRealm(b)
	p, s := manyGroups(b)
	from := netip.MustParseAddr("192.0.2.9")
	resource := Repository("team-999/app", Pull|Push)
	granted, err := p.Rights(b.Context(), &s, ci, from)
	if err != nil {
		b.Fatal(err)
	}
	token, err := r.issuer.Issue(&granted, []Scope{resource})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.verifier.genuine.Purge()
			claims, err := r.verifier.Verify(token.Raw, s)
			if err != nil {
				b.Error(err)
				return
			}
			rights, err := p.Rights(b.Context(), &s, claims.Principal, from)
			if err != nil || claims.Allowed(&rights, resource) != resource.Actions {
				b.Error(err, claims.Grants)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
