package access

import (
	"net/netip"
	"strings"
	"time"
)

// Rule gives principals of a tenant rights, or takes them: these actions, on these
// repositories of these registries.
type Rule struct {
	Slug         string
	Deny         bool           // it takes the actions, whatever roles, settings and other rules give
	Principals   []string       // "serviceAccounts/ci", "users/alice", "groups/dev", Authenticated, AnonymousPrincipal
	Registries   []string       // slugs, or patterns of slugs; empty = every registry of the tenant
	Repositories []string       // name patterns (oci.CheckPattern)
	Actions      Actions        // what it gives or takes
	Networks     []netip.Prefix // of the client's address; empty = any
	Until        time.Time      // its end; zero = none
}

// Names that stand for many principals in a rule.
const (
	Authenticated      = "authenticated" // every principal of the tenant
	AnonymousPrincipal = "anonymous"     // callers without a credential
)

// IsPattern reports whether an entry of Rule.Registries is a pattern, and not a slug.
func IsPattern(registry string) bool { return strings.ContainsAny(registry, "*?[") }

// RuleActions reads what Actions.String wrote. It ignores unknown words.
func RuleActions(words string) Actions {
	var a Actions
	for word := range strings.SplitSeq(words, ",") {
		for _, n := range actionNames {
			if n.name == word {
				a |= n.action
			}
		}
	}
	return a
}

// applies reports whether the rule counts for a client at an address, now.
func (r *Rule) applies(from netip.Addr, now time.Time) bool {
	return !r.ended(now) && r.reaches(from)
}

func (r *Rule) ended(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }

// reaches reports whether the rule counts for clients at an address.
func (r *Rule) reaches(from netip.Addr) bool {
	if len(r.Networks) == 0 {
		return true
	}
	for _, n := range r.Networks {
		if n.Contains(from) {
			return true
		}
	}
	// An unknown address is in no network: then only a rule that takes rights counts.
	return r.Deny && !from.IsValid()
}

// matching returns the first pattern of the rule that matches a repository.
func (r *Rule) matching(repository string) (string, bool) {
	for _, text := range r.Repositories {
		if (&pattern{text: text}).matches(repository) {
			return text, true
		}
	}
	return "", false
}
