// Package tagrule decides which tags the tag rules of a tenant protect: from being
// overwritten, from being deleted, or from both.
package tagrule

import (
	"slices"

	"github.com/berth-registry/berth/pkg/oci"
)

// Rule protects tags. Each list narrows what it selects; an empty one does not.
type Rule struct {
	Slug         string
	Repositories []string // name patterns (oci.CheckPattern)
	Tags         []string // the same for tags
	Classes      []Class
	NoOverwrite  bool // a tag that exists keeps pointing to its manifest
	NoDelete     bool // a tag that exists stays
}

// Op is what a rule protects tags from.
type Op int

// What is done to a tag that exists.
const (
	Overwrite Op = iota // it gets another manifest
	Delete
)

// String is how messages name the protection from it.
func (o Op) String() string {
	if o == Overwrite {
		return "no overwrite"
	}
	return "no delete"
}

func (r Rule) forbids(o Op) bool { return o == Overwrite && r.NoOverwrite || o == Delete && r.NoDelete }

func (r Rule) selects(tag string, class Class) bool {
	return (len(r.Tags) == 0 || oci.MatchesAny(r.Tags, tag)) &&
		(len(r.Classes) == 0 || slices.Contains(r.Classes, class))
}

// Rules are rules in the order in which they are looked at.
type Rules []Rule

// For are the rules that forbid o in a repository.
func (rs Rules) For(o Op, repository string) Rules {
	var some Rules
	for _, r := range rs {
		if r.forbids(o) && (len(r.Repositories) == 0 || oci.MatchesAny(r.Repositories, repository)) {
			some = append(some, r)
		}
	}
	return some
}

// Selecting returns the first rule that selects the tag. A companion has none.
func (rs Rules) Selecting(tag string) (Rule, bool) {
	if len(rs) == 0 || IsCompanion(tag) {
		return Rule{}, false
	}
	class := ClassOf(tag)
	for _, r := range rs {
		if r.selects(tag, class) {
			return r, true
		}
	}
	return Rule{}, false
}
