package access

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Policy decides by the access rules of a tenant, as they are in one version. It is safe
// for concurrent use.
type Policy struct {
	version int64
	rules   []Rule
	groups  map[string]struct{} // those that rules name
	chosen  *lru.Cache[choice, *index]
	held    *atomic.Int64 // patterns in chosen
}

// choice is the key of an index: a principal, or a set of groups, and a registry choose
// among the rules before a repository is known.
type choice struct {
	principal, registry string
	groups              Groups
}

// How many choices a Policy remembers, and how many patterns in all of them.
const (
	maxChoices  = 1024
	maxPatterns = 1 << 17
)

// NoRules is the policy of a tenant without access rules.
var NoRules = NewPolicy(0, nil)

// NewPolicy makes the policy of these rules, which are those of a version.
func NewPolicy(version int64, rules []Rule) *Policy {
	held := new(atomic.Int64)
	chosen, err := lru.NewWithEvict(maxChoices, func(_ choice, x *index) { held.Add(-x.patterns) })
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Policy{version: version, rules: rules, groups: groupsIn(rules), chosen: chosen, held: held}
}

// Rights are those of the principal, who is in these groups, at the site, for a client at
// this address, now.
func (p *Policy) Rights(s *tenant.Site, who Principal, from netip.Addr, groups ...string) Rights {
	return p.rights(s, who, p.named(groups), from)
}

func (p *Policy) rights(s *tenant.Site, who Principal, groups Groups, from netip.Addr) Rights {
	r := Rights{Principal: who, site: s, policy: p, groups: groups, from: from.Unmap().WithZone("")}
	if len(p.rules) == 0 {
		return r
	}
	r.now = time.Now()
	r.everybody = p.choose(choice{principal: AnonymousPrincipal, registry: s.RegistrySlug})
	if r.member() {
		r.own = indexes{
			p.choose(choice{principal: who.Name, registry: s.RegistrySlug}),
			p.choose(choice{principal: Authenticated, registry: s.RegistrySlug}),
		}
		if !groups.none() {
			r.own[2] = p.choose(choice{groups: groups, registry: s.RegistrySlug})
		}
	}
	return r
}

// choose finds the rules that name the principal, or one of the groups, for a registry.
func (p *Policy) choose(key choice) *index {
	if x, ok := p.chosen.Get(key); ok {
		return x
	}
	names := GroupSet{key.principal: true}
	if key.principal == "" {
		names = key.groups.names()
	}
	x := newIndex(p.rules, func(r *Rule) bool {
		return slices.ContainsFunc(r.Principals, func(name string) bool { return names[name] }) && r.covers(key.registry)
	})
	if p.held.Add(x.patterns) > maxPatterns {
		p.chosen.Purge()
	}
	p.chosen.Add(key, x)
	return x
}

// covers reports whether the rule is about the registry.
func (r *Rule) covers(registry string) bool {
	return len(r.Registries) == 0 || oci.MatchesAny(r.Registries, registry)
}

// index is the rules that may decide about a principal in a registry.
type index struct {
	rules    []*Rule
	patterns int64 // how many they have

	made atomic.Pointer[tree] // of the patterns, once a decision needed it
}

func newIndex(rules []Rule, chosen func(*Rule) bool) *index {
	x := &index{}
	for i := range rules {
		if r := &rules[i]; chosen(r) {
			x.rules = append(x.rules, r)
			x.patterns += int64(len(r.Repositories))
		}
	}
	return x
}

// tree is made late: what does not depend on repositories, such as Somewhere, needs none.
func (x *index) tree() *tree {
	if t := x.made.Load(); t != nil {
		return t
	}
	t := newTree(x.rules)
	x.made.Store(t) // one that was made at the same time is the same
	return t
}

// sum is what rules give and take.
type sum struct{ given, taken Actions }

// of adds up the rules that match a repository, for this caller, now.
func (x *index) of(repository string, r *Rights) sum {
	var s sum
	if x == nil {
		return s
	}
	inside := x.tree().inside
	s.add(inside[""], repository, r)
	for i := range len(repository) {
		if repository[i] == '/' {
			s.add(inside[repository[:i]], repository, r)
		}
	}
	s.add(inside[repository], repository, r)
	return s
}

func (s *sum) add(patterns []pattern, repository string, r *Rights) {
	for i := range patterns {
		p := &patterns[i]
		switch {
		case !p.matches(repository), !p.rule.applies(r.from, r.now):
			continue
		case p.rule.Deny:
			s.taken |= p.rule.Actions
		default:
			s.given |= p.rule.Actions
		}
		if r.matched != nil {
			r.matched.add(p)
		}
	}
}

// somewhere returns what the rules that apply give on some repository.
func (x *index) somewhere(from netip.Addr, now time.Time) Actions {
	var given Actions
	if x == nil {
		return given
	}
	for _, r := range x.rules {
		if !r.Deny && r.applies(from, now) {
			given |= r.Actions
		}
	}
	return given
}

// indexes are of the rules about one principal: those that name it, those about all who
// are signed in, and those about its groups, if there are any.
type indexes [3]*index

func (x indexes) of(repository string, r *Rights) sum {
	var all sum
	for _, one := range x {
		s := one.of(repository, r)
		all.given |= s.given
		all.taken |= s.taken
	}
	return all
}

func (x indexes) somewhere(from netip.Addr, now time.Time) Actions {
	return x[0].somewhere(from, now) | x[1].somewhere(from, now) | x[2].somewhere(from, now)
}
