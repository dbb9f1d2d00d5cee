package retention

// deletions are the steps of what goes, and the bytes of all of them.
func (g *graph) deletions(tags, manifests []Verdict) ([]Deletion, int64) {
	var steps []Deletion
	for i := range g.Tags {
		if m := g.manifest[i]; m >= 0 && tags[i].Goes && !manifests[m].Goes {
			steps = append(steps, Deletion{Tag: g.Tags[i].Name, Digest: g.Tags[i].Digest, Rule: tags[i].Rule, Group: 1})
		}
	}
	tagged := make([][]string, len(g.nodes))
	for i := range g.Tags {
		if m := g.manifest[i]; m >= 0 && manifests[m].Goes {
			tagged[m] = append(tagged[m], g.Tags[i].Name)
		}
	}
	naming := g.naming()
	var all int64
	for _, group := range g.order(manifests) {
		for i, m := range group {
			d := Deletion{Digest: g.Manifests[m].Digest, Tags: tagged[m], Rule: manifests[m].Rule, Bytes: g.Manifests[m].Size}
			if i == 0 {
				d.Group = len(group)
			}
			for _, blob := range g.Manifests[m].Blobs {
				if naming[blob]--; naming[blob] == 0 {
					d.Bytes += g.BlobSizes[blob]
				}
			}
			all += d.Bytes
			steps = append(steps, d)
		}
	}
	return steps, all
}

// naming is how many manifests name each blob.
func (g *graph) naming() []int32 {
	naming := make([]int32, len(g.BlobSizes))
	for i := range g.Manifests {
		for _, blob := range g.Manifests[i].Blobs {
			naming[blob]++
		}
	}
	return naming
}

// order is that of the manifests that go: an index before its children always, and a
// subject before its companions, unless these are indexes above it. What is below and
// accompanies a manifest follows it at once, in its group, or where the last manifest is
// that it waits for.
func (g *graph) order(manifests []Verdict) [][]int {
	o := ordering{graph: g, goes: manifests, before: make([]int, len(g.nodes)), above: make([]int, len(g.nodes)), done: make([]bool, len(g.nodes))}
	for i := range g.nodes {
		if !manifests[i].Goes {
			continue
		}
		for _, child := range g.nodes[i].children {
			o.before[child]++
			o.above[child]++
		}
		for _, companion := range g.nodes[i].companions {
			o.before[companion]++
		}
	}
	for i := range g.nodes {
		o.offer(i)
	}
	roots := o.ready
	// What is left after these are indexes that accompany what is below them.
	for ; len(roots) > 0 || len(o.topmost) > 0; o.take() {
		from := &roots
		if len(roots) == 0 {
			from = &o.topmost
		}
		o.ready = (*from)[:1:1]
		*from = (*from)[1:]
	}
	return o.groups
}

// ordering is an order in the making.
type ordering struct {
	*graph
	goes    []Verdict
	before  []int // of each manifest: how many indexes and subjects are still to come before it
	above   []int // how many of them are indexes
	done    []bool
	ready   []int // nothing is to come before them; the last one is next
	topmost []int // no index is
	groups  [][]int
}

// offer queues a manifest that nothing, or no index, is to come before any more.
func (o *ordering) offer(i int) {
	if !o.goes[i].Goes || o.above[i] > 0 {
		return
	}
	o.topmost = append(o.topmost, i)
	if o.before[i] == 0 {
		o.ready = append(o.ready, i)
	}
}

// take makes a group of what is ready, and of what is ready then.
func (o *ordering) take() {
	var group []int
	for len(o.ready) > 0 {
		i := o.ready[len(o.ready)-1]
		o.ready = o.ready[:len(o.ready)-1]
		if o.done[i] {
			continue
		}
		o.done[i] = true
		group = append(group, i)
		for _, child := range o.nodes[i].children {
			o.above[child]--
			o.before[child]--
			o.offer(child)
		}
		for _, companion := range o.nodes[i].companions {
			o.before[companion]--
			o.offer(companion)
		}
	}
	if len(group) > 0 {
		o.groups = append(o.groups, group)
	}
}
