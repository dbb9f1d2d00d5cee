package access

import (
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
	var matched []*pattern
	traced := *r
	traced.matched = &matched
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
	e.addRules(r, matched)
	if settings.ReadOnly {
		e.taking = append(e.taking, Reason{Kind: ByReadOnly, Actions: ^leftByReadOnly})
	}
	if !e.Allowed.Has(Pull) {
		e.taking = append(e.taking, Reason{Kind: WithoutPull, Actions: Fill})
	}
	return e
}

// addRules adds the rules that matched, each once, by slug.
func (e *Explanation) addRules(r *Rights, matched []*pattern) {
	slices.SortStableFunc(matched, func(a, b *pattern) int { return strings.Compare(a.rule.Slug, b.rule.Slug) })
	var last *Rule
	for _, p := range matched {
		names := p.rule.Naming(r.asMember(), r.groups.slice())
		if p.rule == last || len(names) == 0 {
			continue
		}
		last = p.rule
		why := Reason{ByRule, p.rule.Actions, Match{p.rule, p.text, names[0]}}
		if why.Principal == AnonymousPrincipal {
			why.Actions &^= Manage
		}
		if p.rule.Deny {
			e.taking = append(e.taking, why)
		} else {
			e.giving = append(e.giving, why)
		}
	}
}

// Because returns what decides about one action: what gives it, or, if something takes it,
// what takes it, of which the rules come first. It is empty if nothing gives it.
func (e Explanation) Because(action Actions) []Reason {
	given, taken := reasonsFor(e.giving, action), reasonsFor(e.taking, action)
	if e.Allowed.Has(action) || len(given) == 0 {
		return given
	}
	return taken
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
func (r *Rule) Naming(who Principal, groups []string) []string {
	var names []string
	for _, name := range r.Principals {
		if !who.Anonymous() && (name == who.Name || name == Authenticated || slices.Contains(groups, name)) {
			names = append(names, name)
		}
	}
	// What is taken from callers without a credential, only they lose.
	if (who.Anonymous() || !r.Deny) && slices.Contains(r.Principals, AnonymousPrincipal) {
		names = append(names, AnonymousPrincipal)
	}
	return names
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
func (r *Rights) Misses(rule *Rule, repository string, groups []string) Miss {
	var m Miss
	now := r.now
	if now.IsZero() { // the policy has no rules
		now = time.Now()
	}
	if len(rule.Naming(r.asMember(), groups)) == 0 {
		m |= MissPrincipal
	}
	if !rule.covers(r.site.RegistrySlug) {
		m |= MissRegistry
	}
	if !slices.ContainsFunc(rule.Repositories, func(text string) bool { return (&pattern{text: text}).matches(repository) }) {
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
