package retention

import "slices"

// spread carries the verdicts of roots to all that follows them. What stays goes before
// what goes.
type spread struct {
	*graph
	verdicts []Verdict
	known    []bool
}

// decide gives all tags and all manifests their verdicts, from those of the items.
func (g *graph) decide(items []item, r roots, keepProtected bool) ([]Verdict, []Verdict) {
	s := &spread{graph: g, verdicts: make([]Verdict, len(g.nodes)), known: make([]bool, len(g.nodes))}
	s.fromRoots(items, r, false)
	if keepProtected {
		s.fromProtectedCompanions()
	}
	stays := slices.Clone(s.known)
	s.fromRoots(items, r, true)
	s.fromTheRest(stays)

	tags := make([]Verdict, len(g.Tags))
	for i := range g.Tags {
		m := g.manifest[i]
		switch {
		case r.tags[i] >= 0:
			tags[i] = items[r.tags[i]].verdict
		case m >= 0:
			tags[i] = s.verdicts[m]
		default:
			tags[i] = Verdict{Reason: ByDefault}
		}
	}
	return tags, s.verdicts
}

// fromRoots starts from the tags and the untagged manifests that go, or that stay.
func (s *spread) fromRoots(items []item, r roots, goes bool) {
	for i := range s.nodes {
		for _, t := range s.nodes[i].tags {
			if r.tags[t] < 0 {
				continue
			}
			if v := items[r.tags[t]].verdict; v.Goes == goes {
				s.from(i, v.follow(ByTag, s.Tags[t].Name))
			}
		}
		if r.untagged[i] >= 0 {
			if v := items[r.untagged[i]].verdict; v.Goes == goes {
				s.from(i, v)
			}
		}
		if s.nodes[i].orphan && !goes {
			s.from(i, Verdict{Reason: ByDefault})
		}
	}
}

// fromProtectedCompanions keeps companions that have a protected tag, and what they
// accompany: with that they would go.
func (s *spread) fromProtectedCompanions() {
	for i := range s.nodes {
		if !s.nodes[i].companion {
			continue
		}
		for _, t := range s.nodes[i].tags {
			by, protected := s.TagRules.Selecting(s.Tags[t].Name)
			if !protected {
				continue
			}
			v := Verdict{Reason: ByTagRule, TagRule: by.Slug}
			s.from(i, v.follow(ByTag, s.Tags[t].Name))
			s.up(i, v.follow(ByCompanion, string(s.Manifests[i].Digest)))
		}
	}
}

// up keeps what a companion accompanies.
func (s *spread) up(companion int, v Verdict) {
	for _, subject := range s.nodes[companion].subjects {
		if !s.known[subject] {
			s.from(subject, v)
			s.up(subject, v)
		}
	}
}

// fromTheRest keeps what no root leads to: manifests that only lead to each other.
func (s *spread) fromTheRest(stays []bool) {
	rest := &spread{graph: s.graph, verdicts: s.verdicts, known: stays}
	for i := range s.nodes {
		if !s.known[i] {
			rest.from(i, Verdict{Reason: ByDefault})
		}
	}
}

// from gives a manifest a verdict, and those that follow it theirs. The first one holds.
func (s *spread) from(root int, v Verdict) {
	if s.known[root] {
		return
	}
	s.known[root], s.verdicts[root] = true, v
	for next := []int{root}; len(next) > 0; {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		via := string(s.Manifests[i].Digest)
		for _, child := range s.nodes[i].children {
			if !s.known[child] {
				s.known[child], s.verdicts[child] = true, s.verdicts[i].follow(ByIndex, via)
				next = append(next, child)
			}
		}
		for _, companion := range s.nodes[i].companions {
			if !s.known[companion] {
				s.known[companion], s.verdicts[companion] = true, s.verdicts[i].follow(BySubject, via)
				next = append(next, companion)
			}
		}
	}
}
