package access

import "slices"

// Manages reports whether rules let the caller manage the registry as a whole: they give
// Manage on all of its repositories, and none of them takes it from one. What is given to
// callers without a credential does not count.
func (r *Rights) Manages() bool {
	given := false
	if !r.member() {
		return false
	}
	for _, x := range r.own {
		if x.takes(Manage) {
			return false
		}
		given = given || x.managesAll(r)
	}
	return given
}

// managesAll reports whether a rule gives this caller Manage on all repositories.
func (x *index) managesAll(r *Rights) bool {
	return x != nil && slices.ContainsFunc(x.rules, func(rule *Rule) bool {
		return !rule.Deny && rule.Actions.Has(Manage) && rule.applies(r.from, r.now) && slices.Contains(rule.Repositories, "**")
	})
}

// ManagesRepository is Manages for one repository.
func (r *Rights) ManagesRepository(repository string) bool {
	if !r.member() {
		return false
	}
	own := r.own.of(repository, r)
	return (own.given &^ own.taken).Has(Manage)
}
