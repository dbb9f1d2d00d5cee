package metatest

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// modelTrash is what must be restorable until then.
type modelTrash struct {
	modelManifest
	tags  []string
	until time.Time
}

// live notes a manifest that was put, or restored.
func (r *modelRepo) live(d oci.Digest, one modelManifest) {
	r.manifests[d] = one
	delete(r.trash, d)
}

// toTrash notes a manifest that is being deleted.
func (m *model) toTrash(r *modelRepo, d oci.Digest, one modelManifest) {
	gone := modelTrash{modelManifest: one, until: m.Now().Add(meta.DefaultLifetimes.Undelete)}
	for tag, at := range r.tags {
		if at == d {
			gone.tags = append(gone.tags, tag)
		}
	}
	r.trash[d] = gone
}

// restorable says whether a manifest is there, or can be restored with its children.
func (r *modelRepo) restorable(d oci.Digest, now time.Time) bool {
	if _, there := r.manifests[d]; there {
		return true
	}
	gone, ok := r.trash[d]
	return ok && gone.until.After(now) && !slices.ContainsFunc(gone.children, func(c oci.Digest) bool { return !r.restorable(c, now) })
}

// restore notes a manifest that came back with its children.
func (r *modelRepo) restore(d oci.Digest) {
	gone, ok := r.trash[d]
	if _, there := r.manifests[d]; there || !ok {
		return
	}
	for _, child := range gone.children {
		r.restore(child)
	}
	r.live(d, gone.modelManifest)
}

// undeleteOne restores one that is in the trash, or was.
func (m *model) undeleteOne(r *modelRepo) {
	m.t.Helper()
	if len(r.trash) == 0 {
		return
	}
	d := rapid.SampledFrom(slices.Sorted(maps.Keys(r.trash))).Draw(m.play, "trashed")
	gone := r.trash[d]
	err := m.undelete(r.repo, d)
	switch {
	case !gone.until.After(m.Now()):
		m.refused(err, fault.NotFound, fault.ManifestUnknown)
	case slices.ContainsFunc(gone.tags, func(tag string) bool { return r.tags[tag] != "" && r.tags[tag] != d }):
		m.refused(err, fault.Conflict, fault.AlreadyExists)
	case !r.restorable(d, m.Now()):
		m.refused(err, fault.NotFound, fault.ManifestBlobUnknown)
	default:
		m.must(err)
		r.restore(d)
		for _, tag := range gone.tags {
			r.tags[tag] = d
		}
	}
}

// compareTrash fails the test unless the store lists what the model has.
func (m *model) compareTrash(r *modelRepo) {
	m.t.Helper()
	var want []oci.Digest
	for d, gone := range r.trash {
		if gone.until.After(m.Now()) {
			want = append(want, d)
		}
	}
	if len(want) == 0 {
		return // the repository may not be there
	}
	got := m.trash(r.repo)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.t.Errorf("the trash of %s is %v, want %v", r.repo.Name, got, want)
	}
}
