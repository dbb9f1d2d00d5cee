package access

import "slices"

// SeesAll reports whether the caller may pull from every repository of the registry, so
// that a list of them needs no look at each.
func (r *Rights) SeesAll() bool {
	given := r.anonymous() | r.everybody.everywhere()
	if !r.member() {
		return r.limit(given).Has(Pull) && !r.everybody.takes(Pull)
	}
	given |= r.Principal.Role.Actions()
	for _, x := range r.own {
		if given |= x.everywhere(); x.takes(Pull) {
			return false
		}
	}
	return r.limit(given).Has(Pull)
}

// everywhere returns what rules without an end and for any network give on all repositories.
func (x *index) everywhere() Actions {
	var given Actions
	if x == nil {
		return given
	}
	for _, p := range x.tree().inside[""] {
		if p.all && !p.rule.Deny && len(p.rule.Networks) == 0 && p.rule.Until.IsZero() {
			given |= p.rule.Actions
		}
	}
	return given
}

// takes reports whether a rule takes one of the actions somewhere.
func (x *index) takes(a Actions) bool {
	return x != nil && slices.ContainsFunc(x.rules, func(r *Rule) bool { return r.Deny && r.Actions&a != 0 })
}

// visible are the actions of which each may show a repository.
var visible = []Actions{Pull, Manage}

// Seek skips names of which the caller has none of the actions, which are of visible. It
// returns the name after which a list of repositories continues: after, or a later one if
// all names in between are hidden. It returns false if all names that follow are hidden.
func (r *Rights) Seek(after string, actions Actions) (string, bool) {
	if r.anonymous()&actions != 0 || r.member() && r.Principal.Role.Actions()&actions != 0 {
		return after, true
	}
	next, found := after, false
	for _, a := range visible {
		if !actions.Has(a) {
			continue
		}
		for _, x := range append(r.own[:], r.everybody) { // only the last one of a caller without a credential
			if one, also := x.seek(after, a); also && (!found || one < next) {
				next, found = one, true
			}
		}
	}
	return next, found
}

func (x *index) seek(after string, a Actions) (string, bool) {
	if x == nil {
		return after, false
	}
	for _, folder := range x.tree().folders[a] {
		switch {
		case folder == "", after >= folder && after < folder+"0": // "0" follows "/"
			return after, true
		case after < folder:
			return before(folder), true
		}
	}
	return after, false
}

// before is a text less than a name, and greater than all names before it: no name has a
// byte above "z".
func before(name string) string {
	last := len(name) - 1
	return name[:last] + string(rune(name[last]-1)) + "~"
}
