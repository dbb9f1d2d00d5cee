package access

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// Policy decides by the access rules of a tenant, as they are in one version. It is safe
// for concurrent use.
type Policy struct {
	rules  []Rule
	chosen *lru.Cache[choice, *index]
}

// choice is the key of an index: a principal and a registry choose among the rules before a
// repository is known.
type choice struct{ principal, registry string }

// maxChoices is how many choices a Policy remembers.
const maxChoices = 1024

// NoRules is the policy of a tenant without access rules.
var NoRules = NewPolicy(nil)

// NewPolicy makes the policy of these rules.
func NewPolicy(rules []Rule) *Policy {
	chosen, err := lru.New[choice, *index](maxChoices)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Policy{rules: rules, chosen: chosen}
}

// Rights are those of the principal at the site, for a client at this address, now.
func (p *Policy) Rights(s *tenant.Site, who Principal, from netip.Addr) Rights {
	r := Rights{Principal: who, site: s, policy: p, from: from.Unmap()}
	if len(p.rules) == 0 {
		return r
	}
	r.now = time.Now()
	r.everybody = p.choose(AnonymousPrincipal, s.RegistrySlug)
	if r.member() {
		r.own = p.choose(who.Name, s.RegistrySlug)
	}
	return r
}

// choose finds the rules of a principal in a registry.
func (p *Policy) choose(principal, registry string) *index {
	key := choice{principal, registry}
	if x, ok := p.chosen.Get(key); ok {
		return x
	}
	x := newIndex(p.rules, func(r *Rule) bool { return r.names(principal) && r.covers(registry) })
	p.chosen.Add(key, x)
	return x
}

// names reports whether the rule is about the principal.
func (r *Rule) names(principal string) bool {
	return slices.Contains(r.Principals, principal) ||
		principal != AnonymousPrincipal && slices.Contains(r.Principals, Authenticated)
}

// covers reports whether the rule is about the registry.
func (r *Rule) covers(registry string) bool {
	return len(r.Registries) == 0 || oci.MatchesAny(r.Registries, registry)
}

// index finds the rules that may match a repository by the folders of its name, so that a
// decision does not grow with the number of rules.
type index struct {
	rules   []*Rule
	inside  map[string][]pattern // by literalFolder
	folders []string             // those of patterns that give Pull, sorted
}

// pattern is one pattern of a rule.
type pattern struct {
	text string
	all  bool // it matches its folder and all names in it
	rule *Rule
}

func newIndex(rules []Rule, chosen func(*Rule) bool) *index {
	x := &index{inside: map[string][]pattern{}}
	for i := range rules {
		r := &rules[i]
		if !chosen(r) {
			continue
		}
		x.rules = append(x.rules, r)
		for _, text := range r.Repositories {
			folder := literalFolder(text)
			all := text == "**" || text == folder+"/**" && folder != ""
			x.inside[folder] = append(x.inside[folder], pattern{text, all, r})
			if !r.Deny && r.Actions.Has(Pull) {
				x.folders = append(x.folders, folder)
			}
		}
	}
	slices.Sort(x.folders)
	x.folders = slices.Compact(x.folders)
	return x
}

// literalFolder is the longest part of a pattern, up to a slash, that only matches itself:
// all names that the pattern matches are this folder, or in it.
func literalFolder(text string) string {
	first := strings.IndexAny(text, "*?[")
	if first < 0 {
		return text
	}
	return text[:max(strings.LastIndexByte(text[:first], '/'), 0)]
}

// sum is what rules give and take.
type sum struct{ given, taken Actions }

// of adds up the rules that match a repository, for a client at an address, now.
func (x *index) of(repository string, from netip.Addr, now time.Time) sum {
	var s sum
	if x == nil {
		return s
	}
	s.add(x.inside[""], repository, from, now)
	for i := range len(repository) {
		if repository[i] == '/' {
			s.add(x.inside[repository[:i]], repository, from, now)
		}
	}
	s.add(x.inside[repository], repository, from, now)
	return s
}

func (s *sum) add(patterns []pattern, repository string, from netip.Addr, now time.Time) {
	for _, p := range patterns {
		switch {
		case !p.all && !doublestar.MatchUnvalidated(p.text, repository), !p.rule.applies(from, now):
		case p.rule.Deny:
			s.taken |= p.rule.Actions
		default:
			s.given |= p.rule.Actions
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
