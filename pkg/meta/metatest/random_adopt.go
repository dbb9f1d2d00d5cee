package metatest

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// adopt plays the first steps of an adoption, from a repository and the cache, and
// often leaves it at that.
func (m *model) adopt(r *modelRepo, contents ...string) {
	m.t.Helper()
	from := m.pick()
	missing, err := m.Store.AdoptBlobs(m.t.Context(), cause(), []meta.Repo{from.repo, m.cache.at()}, r.repo, digestsOf(contents...))
	m.must(err)
	for _, c := range contents {
		switch {
		case !slices.Contains(missing, digestOf(c)):
			r.promise(c, m.Now().Add(meta.DefaultLifetimes.Grace))
		case from.holds(m.Now(), c) || m.cache.holds(c):
			m.t.Errorf("%s was not adopted from %s", c, from.repo.Name)
		}
	}
	steps := rapid.IntRange(1, 4).Draw(m.play, "steps")
	if steps < 3 {
		return
	}
	image := m.imageOf(contents)
	image.Provisional = true
	if !m.expect(m.tryPut(r.repo, image), r.holds(m.Now(), contents...), fault.ManifestBlobUnknown) {
		return
	}
	for _, c := range contents {
		r.provisional[c] = true
	}
	if steps == 4 {
		index := m.index(image.Manifest)
		m.put(r.repo, index, "index")
		r.live(image.Manifest.Digest, modelManifest{put: m.imageOf(contents), contents: contents})
		r.live(index.Manifest.Digest, modelManifest{put: index, children: []oci.Digest{image.Manifest.Digest}})
		r.tags["index"] = index.Manifest.Digest
	}
}
