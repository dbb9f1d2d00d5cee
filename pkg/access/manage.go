package access

// Manages reports whether rules let the caller manage the registry as a whole: they give
// Manage on all of its repositories, and none of them takes it from one. What is given to
// callers without a credential does not count.
func (r *Rights) Manages() bool {
	var given Actions
	if !r.member() {
		return false
	}
	for _, x := range r.own {
		if x.takes(Manage) {
			return false
		}
		given |= x.now(r)
	}
	return given.Has(Manage)
}

// now returns what the rules about all repositories give this caller.
func (x *index) now(r *Rights) Actions {
	var given Actions
	if x == nil {
		return given
	}
	for _, p := range x.inside[""] {
		if p.all && !p.rule.Deny && p.rule.applies(r.from, r.now) {
			given |= p.rule.Actions
		}
	}
	return given
}

// ManagesRepository is Manages for one repository.
func (r *Rights) ManagesRepository(repository string) bool {
	if !r.member() {
		return false
	}
	own := r.own.of(repository, r)
	return (own.given &^ own.taken).Has(Manage)
}
