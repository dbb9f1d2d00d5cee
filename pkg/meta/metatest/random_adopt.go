package metatest

import (
	"slices"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// adopt plays the first steps of an adoption, from a repository and the cache, and
// often leaves it at that.
func (m *model) adopt(repo meta.Repo, r *modelRepo, contents ...string) {
	m.t.Helper()
	fromName, from := m.pick()
	missing, err := m.Store.AdoptBlobs(m.t.Context(), cause(), []meta.Repo{m.repo(fromName), m.cache.at()}, repo, digestsOf(contents...))
	m.must(err)
	for _, c := range contents {
		switch {
		case !slices.Contains(missing, digestOf(c)):
			r.promise(c, m.Now().Add(meta.DefaultLifetimes.Grace))
		case from.holds(c, m.Now()) || m.cache.holds(c):
			m.t.Errorf("%s was not adopted from %s", c, fromName)
		}
	}
	if m.rand.IntN(2) == 0 {
		return
	}
	must := true
	var blobs []meta.Blob
	for _, c := range contents {
		must = must && r.holds(c, m.Now())
		blobs = append(blobs, described(c))
	}
	image := m.image(nil, blobs...)
	image.Provisional = true
	if m.expect(m.tryPut(repo, image), must, fault.ManifestBlobUnknown) {
		for _, c := range contents {
			r.provisional[c] = true
		}
		if m.rand.IntN(2) == 0 {
			index := m.index(image.Manifest)
			m.put(repo, index, "index")
			r.manifests[image.Manifest.Digest] = modelManifest{put: m.image(nil, blobs...), contents: contents}
			r.manifests[index.Manifest.Digest] = modelManifest{put: index, children: []oci.Digest{image.Manifest.Digest}}
			r.tags["index"] = index.Manifest.Digest
		}
	}
}
