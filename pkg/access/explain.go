package access

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Explanation is a decision about a repository, and what led to it.
type Explanation struct {
	Allowed Actions // what Rights.Allowed returns, with Manage as Rights.ManagesRepository says

	giving, taking []Reason
}

// Reason is one thing that gives a caller actions, or takes them.
type Reason struct {
	Kind    ReasonKind
	Actions Actions
	Match   // of ByRule
}

// Match is why a rule counts in a decision.
type Match struct {
	Rule      *Rule
	Pattern   string // of the rule, that matches the repository
	Principal string // of the rule, that is the caller, a group of it, or stands for it
}

// ReasonKind says what a Reason is.
type ReasonKind int

// The reasons.
const (
	ByRule ReasonKind = iota + 1
	ByRole
	ByAnonymousPull // a setting of the registry
	ByAnonymousPush // a setting of the registry
	ByReadOnly      // a setting of the registry, which takes
	WithoutPull     // Fill counts only with Pull
)

// Explain decides about a repository, and returns why.
func (r *Rights) Explain(repository string) Explanation {
	traced := *r
	traced.matched = matches{}
	e := Explanation{Allowed: traced.Allowed(repository) &^ Manage}
	if r.ManagesRepository(repository) {
		e.Allowed |= Manage
	}
	settings := r.site.Settings
	if settings.AnonymousPull {
		e.giving = append(e.giving, Reason{Kind: ByAnonymousPull, Actions: givenByAnonymousPull})
	}
	if settings.AnonymousPush {
		e.giving = append(e.giving, Reason{Kind: ByAnonymousPush, Actions: givenByAnonymousPush})
	}
	if role := r.Principal.Role.Actions(); r.member() && role != 0 {
		e.giving = append(e.giving, Reason{Kind: ByRole, Actions: role})
	}
	e.addRules(r, traced.matched)
	if settings.ReadOnly {
		e.taking = append(e.taking, Reason{Kind: ByReadOnly, Actions: ^leftByReadOnly})
	}
	if !e.Allowed.Has(Pull) {
		e.taking = append(e.taking, Reason{Kind: WithoutPull, Actions: Fill})
	}
	return e
}

// matches are the rules that matched in a decision, each with the first pattern that did.
type matches map[*Rule]string

func (m matches) add(p *pattern) {
	if _, known := m[p.rule]; !known {
		m[p.rule] = p.text
	}
}

// addRules adds the rules that matched, by slug.
func (e *Explanation) addRules(r *Rights, matched matches) {
	who, groups := r.asMember(), r.groups.names()
	for _, rule := range slices.SortedFunc(maps.Keys(matched), func(a, b *Rule) int { return strings.Compare(a.Slug, b.Slug) }) {
		name := rule.named(who, groups)
		if name == "" {
			continue
		}
		why := Reason{ByRule, rule.Actions, Match{rule, matched[rule], name}}
		if why.Principal == AnonymousPrincipal {
			why.Actions &^= Manage
		}
		if rule.Deny {
			e.taking = append(e.taking, why)
		} else {
			e.giving = append(e.giving, why)
		}
	}
}

// Because returns what decides about one action: what gives it, or, if something takes it,
// what takes it, of which the rules come first. It is empty if nothing gives it.
func (e Explanation) Because(action Actions) []Reason {
	given := reasonsFor(e.giving, action)
	if e.Allowed.Has(action) || len(given) == 0 {
		return given
	}
	return reasonsFor(e.taking, action)
}

// Overruled returns the rules that give an action in vain: something takes it.
func (e Explanation) Overruled(action Actions) []Reason {
	if e.Allowed.Has(action) {
		return nil
	}
	return slices.DeleteFunc(reasonsFor(e.giving, action), func(r Reason) bool { return r.Kind != ByRule })
}

func reasonsFor(all []Reason, action Actions) []Reason {
	var found []Reason
	for _, r := range all {
		if r.Actions.Has(action) {
			found = append(found, r)
		}
	}
	return found
}

// asMember is the principal as rules of the tenant see it: one of another tenant is anonymous.
func (r *Rights) asMember() Principal {
	if r.member() {
		return r.Principal
	}
	return Principal{}
}

// Naming returns the principals of the rule that stand for a principal of its tenant, who is in
// these groups. AnonymousPrincipal is the last of them.
func (r *Rule) Naming(who Principal, groups GroupSet) []string {
	return slices.Collect(r.naming(who, groups))
}

func (r *Rule) naming(who Principal, groups GroupSet) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range r.Principals {
			if !who.Anonymous() && (name == who.Name || name == Authenticated || groups[name]) && !yield(name) {
				return
			}
		}
		// What is taken from callers without a credential, only they lose.
		if (who.Anonymous() || !r.Deny) && slices.Contains(r.Principals, AnonymousPrincipal) {
			yield(AnonymousPrincipal)
		}
	}
}

// named returns the first of Naming; empty if no principal of the rule stands for this one.
func (r *Rule) named(who Principal, groups GroupSet) string {
	for name := range r.naming(who, groups) {
		return name
	}
	return ""
}

// Miss is a set of conditions of a rule that a decision does not meet, so that it does not count.
type Miss uint8

// The conditions.
const (
	MissPrincipal  Miss = 1 << iota // it is about others
	MissRegistry                    // it is about other registries
	MissRepository                  // no pattern of it matches
	MissNetwork                     // the client is in none of its networks
	MissEnded
)

// Misses returns why a rule does not count for a repository; 0 if it counts. groups are all that
// the principal is in: a rule that does not count may name others than those that do.
func (r *Rights) Misses(rule *Rule, repository string, groups GroupSet) Miss {
	var m Miss
	now := r.now
	if now.IsZero() { // the policy has no rules
		now = time.Now()
	}
	if rule.named(r.asMember(), groups) == "" {
		m |= MissPrincipal
	}
	if !rule.covers(r.site.RegistrySlug) {
		m |= MissRegistry
	}
	if _, ok := rule.matching(repository); !ok {
		m |= MissRepository
	}
	if !rule.reaches(r.from) {
		m |= MissNetwork
	}
	if rule.ended(now) {
		m |= MissEnded
	}
	return m
}
