package retention

import (
	"slices"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tagrule"
)

// graph is content whose manifests know each other by their place in Content.Manifests.
type graph struct {
	Content

	nodes    []node
	at       map[oci.Digest]int // of each manifest
	manifest []int              // of each tag; -1: it is not here
}

// node is what leads to a manifest, and what it leads to.
type node struct {
	tags       []int // without companion tags
	children   []int
	companions []int // by their subject, or by a companion tag
	subjects   []int // the reverse
	below      bool  // an index lists it
	companion  bool  // it has a subject here, whatever tags it has, or companion tags alone
	orphan     bool  // a companion tag of it is named by what is not here
}

func newGraph(c Content) *graph {
	at := make(map[oci.Digest]int, len(c.Manifests))
	g := &graph{Content: c, nodes: make([]node, len(c.Manifests)), at: at, manifest: make([]int, len(c.Tags))}
	for i := range c.Manifests {
		at[c.Manifests[i].Digest] = i
	}
	for i := range c.Manifests {
		if s, here := at[c.Manifests[i].Subject]; here {
			g.accompany(s, i)
			g.nodes[i].companion = true
		}
		for _, d := range c.Manifests[i].Children {
			if child, here := at[d]; here {
				g.nodes[i].children = append(g.nodes[i].children, child)
				g.nodes[child].below = true
			}
		}
	}
	for i, t := range c.Tags {
		m, here := at[t.Digest]
		switch {
		case !here:
			g.manifest[i] = -1
			continue
		case !tagrule.IsCompanion(t.Name):
			g.nodes[m].tags = append(g.nodes[m].tags, i)
		default:
			if s, here := at[tagrule.SubjectOf(t.Name)]; here {
				g.accompany(s, m)
			} else {
				g.nodes[m].orphan = true
			}
		}
		g.manifest[i] = m
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		n.companion = n.companion || len(n.subjects) > 0 && len(n.tags) == 0 && !n.orphan
	}
	return g
}

func (g *graph) accompany(subject, companion int) {
	g.nodes[subject].companions = append(g.nodes[subject].companions, companion)
	g.nodes[companion].subjects = append(g.nodes[companion].subjects, subject)
}

// lastPulls are when manifests were pulled last: by themselves, by a tag, or by what is
// below them or accompanies them.
func (g *graph) lastPulls() []time.Time {
	last := make([]time.Time, len(g.nodes))
	for i := range last {
		last[i] = g.Manifests[i].PulledAt
		for _, t := range g.nodes[i].tags {
			last[i] = latest(last[i], g.Tags[t].PulledAt)
		}
	}
	parents := make([][]int, len(g.nodes))
	var pulled []int
	for i := range g.nodes {
		for _, child := range g.nodes[i].children {
			parents[child] = append(parents[child], i)
		}
		if !last[i].IsZero() {
			pulled = append(pulled, i)
		}
	}
	slices.SortFunc(pulled, func(a, b int) int { return last[b].Compare(last[a]) })
	seen := make([]bool, len(g.nodes))
	for _, from := range pulled { // the latest first, so that each is visited once
		at := last[from]
		for next := []int{from}; len(next) > 0; {
			i := next[len(next)-1]
			next = next[:len(next)-1]
			if seen[i] {
				continue
			}
			seen[i], last[i] = true, at
			next = append(append(next, parents[i]...), g.nodes[i].subjects...)
		}
	}
	return last
}

// items are what rules are asked about, and which of them is the one of each tag and each
// manifest.
func (g *graph) items(at Moment) ([]item, roots) {
	used := g.lastPulls()
	r := roots{tags: make([]int, len(g.Tags)), untagged: make([]int, len(g.nodes))}
	var items []item
	for i, t := range g.Tags {
		r.tags[i] = -1
		m := g.manifest[i]
		if m < 0 || g.nodes[m].companion || tagrule.IsCompanion(t.Name) {
			continue
		}
		pushed := latest(g.Manifests[m].PushedAt, t.MovedAt)
		r.tags[i] = len(items)
		items = append(items, item{tag: t.Name, digest: t.Digest, version: ParseVersion(t.Name), pushed: pushed, used: at.lastUse(pushed, used[m])})
	}
	for i := range g.nodes {
		r.untagged[i] = -1
		if n := &g.nodes[i]; len(n.tags) > 0 || n.below || n.companion || n.orphan {
			continue
		}
		pushed := latest(g.Manifests[i].PushedAt, g.Manifests[i].UntaggedAt)
		r.untagged[i] = len(items)
		items = append(items, item{digest: g.Manifests[i].Digest, pushed: pushed, used: at.lastUse(pushed, used[i])})
	}
	return items, r
}

// roots say which item is that of a tag or an untagged manifest; -1: no rule is asked
// about it.
type roots struct{ tags, untagged []int }
