package retention

import (
	"time"

	"github.com/berth-registry/berth/pkg/oci"
)

// Basis is what a deletion was decided by, apart from what else the repository has: it
// must not be done where this has changed.
type Basis struct {
	Manifest   Manifest
	Tags       []Tag        // that go
	Companions []oci.Digest // of the manifest
	Gone       []oci.Digest // what it accompanies: it goes before it, or was not there

	// Pulled are the manifests whose pulls count for it: itself, what is below it and what
	// accompanies it, the nearest first, at most MaxPulled. None where pulls have no part in
	// the decision.
	Pulled   []oci.Digest
	PulledAt time.Time // the last pull of them; zero: none is known
}

// MaxPulled bounds Basis.Pulled.
const MaxPulled = 2000

// Bases have the basis of each deletion of a result.
type Bases struct {
	graph  *graph
	policy Policy
	tags   map[string]int     // in graph.Tags
	order  map[oci.Digest]int // of the manifests that go
}

// Bases are those of the deletions of a result of the policy.
func (p Policy) Bases(r Result) Bases {
	b := Bases{graph: r.graph, policy: p, tags: make(map[string]int, len(r.graph.Tags)), order: make(map[oci.Digest]int, len(r.Deletions))}
	for i := range r.graph.Tags {
		b.tags[r.graph.Tags[i].Name] = i
	}
	for i := range r.Deletions {
		if r.Deletions[i].Tag == "" {
			b.order[r.Deletions[i].Digest] = i
		}
	}
	return b
}

// Of is the basis of a deletion.
func (b Bases) Of(d Deletion) Basis {
	at := b.graph.at[d.Digest]
	basis := Basis{Manifest: b.graph.Manifests[at]}
	names := d.Tags
	if d.Tag != "" {
		names = []string{d.Tag}
	}
	for _, name := range names {
		basis.Tags = append(basis.Tags, b.graph.Tags[b.tags[name]])
	}
	for _, companion := range b.graph.nodes[at].companions {
		basis.Companions = append(basis.Companions, b.graph.Manifests[companion].Digest)
	}
	for _, subject := range b.graph.nodes[at].subjects {
		of := b.graph.Manifests[subject].Digest
		if before, goes := b.order[of]; d.Tag == "" && goes && before < b.order[d.Digest] {
			basis.Gone = append(basis.Gone, of)
		}
	}
	if s := basis.Manifest.Subject; d.Tag == "" && s != "" {
		if _, here := b.graph.at[s]; !here {
			basis.Gone = append(basis.Gone, s)
		}
	}
	if b.policy.AsksForPulls("") { // its tags may go by several rules
		b.addPulled(&basis, at)
	}
	return basis
}

// addPulled adds what a pull of counts for a manifest.
func (b Bases) addPulled(basis *Basis, from int) {
	seen := map[int]bool{from: true}
	for next := []int{from}; len(next) > 0 && len(basis.Pulled) < MaxPulled; next = next[1:] {
		m := &b.graph.Manifests[next[0]]
		basis.Pulled = append(basis.Pulled, m.Digest)
		basis.PulledAt = latest(basis.PulledAt, m.PulledAt)
		n := &b.graph.nodes[next[0]]
		for _, led := range [][]int{n.children, n.companions} {
			for _, i := range led {
				if !seen[i] {
					seen[i] = true
					next = append(next, i)
				}
			}
		}
	}
}
