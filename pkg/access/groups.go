package access

import (
	"slices"
	"strings"
	"unique"
)

// Groups are the groups of a principal that rules name. Principals with the same groups
// have the same value. The zero value stands for no groups.
type Groups struct{ joined unique.Handle[string] }

var noGroups = Groups{unique.Make("")}

// named returns those of the groups that rules of the policy name.
func (p *Policy) named(groups []string) Groups {
	var found []string
	for _, name := range groups {
		if _, ok := p.groups[name]; ok {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return noGroups
	}
	slices.Sort(found)
	return Groups{unique.Make(strings.Join(slices.Compact(found), ","))}
}

// none reports whether no group is among them.
func (g Groups) none() bool { return g == Groups{} || g == noGroups }

// GroupSet is a set of groups, by their names.
type GroupSet map[string]bool

// SetOfGroups is the set of these groups.
func SetOfGroups(groups []string) GroupSet {
	set := GroupSet{}
	for _, name := range groups {
		set[name] = true
	}
	return set
}

// names are those of the groups.
func (g Groups) names() GroupSet {
	if g.none() {
		return nil
	}
	return SetOfGroups(strings.Split(g.joined.Value(), ","))
}

// groupsIn are the groups that rules name.
func groupsIn(rules []Rule) map[string]struct{} {
	var groups map[string]struct{}
	for _, r := range rules {
		for _, name := range r.Principals {
			if _, ok := GroupOf(name); !ok {
				continue
			}
			if groups == nil {
				groups = map[string]struct{}{}
			}
			groups[name] = struct{}{}
		}
	}
	return groups
}
