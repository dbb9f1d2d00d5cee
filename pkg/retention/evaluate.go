package retention

import (
	"cmp"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// item is what rules decide about: a tag, or a manifest without any.
type item struct {
	tag     string // empty: a manifest
	digest  oci.Digest
	version Version
	pushed  time.Time
	used    time.Time

	decided bool
	verdict Verdict
}

// Evaluate says what of the content goes. Companions share the verdict of their subject,
// and manifests below an index that stays stay: no rule is asked about them. What is
// below an index that goes, goes with it, unless a tag or another index keeps it.
func (p Policy) Evaluate(c Content, at Moment) Result {
	g := newGraph(c)
	items, r := g.items(at)
	for _, rule := range p.Rules {
		p.apply(rule, items, c.TagRules, at)
	}
	for i := range items {
		if !items[i].decided {
			items[i].verdict = Verdict{Reason: ByDefault}
		}
	}
	tags, manifests := g.decide(items, r, !p.MayDeleteProtected)
	deletions, bytes := g.deletions(tags, manifests)
	return Result{Tags: tags, Manifests: manifests, Deletions: deletions, Bytes: bytes, graph: g}
}

// AsksForPulls reports whether pulls have a part in what a rule decides: by itself, or by
// a rule before it that did not match. No name asks about all rules.
func (p Policy) AsksForPulls(rule string) bool {
	for _, r := range p.Rules {
		if r.PulledWithin > 0 || r.NotPulledFor > 0 {
			return true
		}
		if r.Name == rule {
			return false
		}
	}
	return false
}

// apply lets a rule decide about what those before it left.
func (p Policy) apply(r Rule, items []item, protecting tagrule.Rules, at Moment) {
	var selected []int
	for i := range items {
		if !items[i].verdict.wasDeleted() && r.selects(&items[i]) {
			selected = append(selected, i)
		}
	}
	for _, i := range r.matching(items, selected, at) {
		it := &items[i]
		if it.decided {
			continue
		}
		it.decided = true
		it.verdict = Verdict{Goes: r.Action == Delete, Reason: ByRule, Rule: r.Name}
		if it.verdict.Goes && !p.MayDeleteProtected && it.tag != "" {
			if by, protected := protecting.Selecting(it.tag); protected {
				it.verdict = Verdict{Reason: ByTagRule, Rule: r.Name, TagRule: by.Slug}
			}
		}
	}
}

// wasDeleted reports whether a rule decided to delete it, even if it is protected.
func (v Verdict) wasDeleted() bool { return v.Goes || v.Reason == ByTagRule }

func (s Selector) selects(it *item) bool {
	if s.Untagged || it.tag == "" {
		return s.Untagged && it.tag == ""
	}
	variant := it.version.Variant
	if variant == "" {
		variant = NoVariant
	}
	return (len(s.Tags) == 0 || oci.MatchesAny(s.Tags, it.tag)) &&
		(len(s.Classes) == 0 || slices.Contains(s.Classes, it.version.Class)) &&
		(len(s.Variants) == 0 || oci.MatchesAny(s.Variants, variant))
}

// matching are those of the selected items that all conditions hold for.
func (c Conditions) matching(items []item, selected []int, at Moment) []int {
	matching := slices.DeleteFunc(slices.Clone(selected), func(i int) bool { return !c.timely(&items[i], at) })
	if c.Versions != nil {
		matching = intersection(len(items), matching, c.Versions.of(items, selected))
	}
	if c.Newest > 0 {
		matching = intersection(len(items), matching, newest(c.Newest, items, selected))
	}
	if c.Released {
		matching = slices.DeleteFunc(matching, superseded(items))
	}
	return matching
}

// timely reports whether the conditions about times hold.
func (c Conditions) timely(it *item, at Moment) bool {
	age, idle := at.Now.Sub(it.pushed), at.Now.Sub(it.used)-at.Slack
	return (c.OlderThan == 0 || age >= c.OlderThan) &&
		(c.YoungerThan == 0 || age < c.YoungerThan) &&
		(c.PulledWithin == 0 || idle < c.PulledWithin) &&
		(c.NotPulledFor == 0 || idle >= c.NotPulledFor)
}

// of are the selected items in the window.
func (w Window) of(items []item, selected []int) []int {
	lines := map[line][]numbered{}
	for _, i := range selected {
		if v := items[i].version; v.number != nil {
			lines[v.line()] = append(lines[v.line()], numbered{v.number, i})
		}
	}
	var in []int
	for _, versions := range lines {
		in = append(in, w.contained(versions)...)
	}
	return in
}

// newest are the n items that were pushed last.
func newest(n int, items []item, selected []int) []int {
	byAge := slices.SortedStableFunc(slices.Values(selected), func(a, b int) int {
		return cmp.Or(items[b].pushed.Compare(items[a].pushed), cmp.Compare(items[b].tag, items[a].tag), cmp.Compare(items[b].digest, items[a].digest))
	})
	return byAge[:min(n, len(byAge))]
}

// superseded reports of an item that no release of its variant is as high as it is. Items
// that a rule deletes are not there.
func superseded(items []item) func(i int) bool {
	highest := map[string]*semver.Version{}
	for i := range items {
		v := items[i].version
		if v.number == nil || v.Class != tagrule.Release || items[i].verdict.wasDeleted() {
			continue
		}
		if h := highest[v.Variant]; h == nil || v.number.GreaterThan(h) {
			highest[v.Variant] = v.number
		}
	}
	return func(i int) bool {
		v := items[i].version
		return v.number == nil || highest[v.Variant] == nil || highest[v.Variant].LessThan(v.number)
	}
}

// intersection keeps of some of n items those that are among others.
func intersection(n int, some, others []int) []int {
	there := make([]bool, n)
	for _, i := range others {
		there[i] = true
	}
	return slices.DeleteFunc(some, func(i int) bool { return !there[i] })
}
