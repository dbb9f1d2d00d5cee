package metatest

import (
	"errors"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testChildren deletes manifests that indexes name.
func testChildren(t *testing.T, open Open) {
	t.Run("Q10 stay while an index names them", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.pushImage(r, "v1", "config")
		w.put(w.repo("other"), w.index(w.pushImage(w.repo("other"), "v1", "config"))) // names it elsewhere
		inner := w.put(r, w.index(child), "index")
		outer := w.put(r, w.index(inner))
		w.namedBy(r, child, inner.Digest)
		w.namedBy(r, inner, outer.Digest)
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "index"))
		w.namedBy(r, child, inner.Digest)
		w.sameTags(r, "v1")
		w.consistent()
		for _, m := range []meta.Manifest{outer, inner, child} {
			w.must(w.tryDelete(r, m.Digest))
		}
		w.sameTags(r)
		w.consistent()
	})
	t.Run("Q10 say which indexes name them, up to ten", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.pushImage(r, "v1", "config")
		var parents []oci.Digest
		for _, content := range numbered("layer %d", 12) {
			parents = append(parents, w.put(r, w.index(child, w.pushImage(r, "other", content))).Digest)
		}
		detail := w.parents(w.tryDelete(r, child.Digest))
		for i, d := range detail {
			if !slices.Contains(parents, d) || slices.Contains(detail[:i], d) {
				t.Errorf("%s of %v", d, detail)
			}
		}
		if len(detail) != meta.MaxParents {
			t.Errorf("%d are named", len(detail))
		}
	})
	t.Run("Q10 are not there", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		sparse := w.index(w.image(nil, w.push(w.repo("other"), "config")).Manifest)
		sparse.AllowMissingReferences = true
		w.put(r, sparse)
		w.refused(w.tryDelete(r, sparse.Parsed.Children[0].Digest), fault.NotFound, fault.ManifestUnknown)
		w.consistent()
	})
	t.Run("Q11 go by force, also indexes that name each other", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		one, two := w.index(), w.index(w.pushImage(r, "v1", "config"))
		// No two documents are made so: their digests would have to be known before.
		one.Parsed.Children = []oci.Descriptor{*descriptor(two.Manifest)}
		two.Parsed.Children = append(two.Parsed.Children, *descriptor(one.Manifest))
		one.AllowMissingReferences = true
		w.put(r, one)
		w.put(r, two, "two")
		one.AllowMissingReferences = false
		w.put(r, one, "one") // both hold each other now
		w.namedBy(r, one.Manifest, two.Manifest.Digest)
		w.namedBy(r, two.Manifest, one.Manifest.Digest)

		forced := meta.ManifestDelete{Repo: r, Digest: one.Manifest.Digest, By: cause(), Force: true}
		w.must(w.Store.DeleteManifest(t.Context(), forced))
		w.must(w.Store.DeleteManifest(t.Context(), forced)) // the same request again
		w.sameTags(r, "two", "v1")
		w.consistent() // what it leaves lacks a child on purpose
		w.must(w.tryDelete(r, two.Manifest.Digest))
		w.sameTags(r, "v1")
		w.consistent()
		forced.By, forced.Digest = cause(), digestOf("none")
		w.refused(w.Store.DeleteManifest(t.Context(), forced), fault.NotFound, fault.ManifestUnknown)
	})
	t.Run("Q11 stay when their subject goes with its referrers", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		image := w.image(nil, config)
		named := w.artifact(descriptor(image.Manifest), "application/named", nil, config)
		below := w.artifact(descriptor(named.Manifest), "application/below", nil, config)
		goes := w.artifact(descriptor(image.Manifest), "application/goes", nil, config)
		w.put(r, image, "image")
		w.put(r, named, "named")
		w.put(r, below, "below")
		w.put(r, goes, "goes")
		w.put(r, w.index(named.Manifest), "list")
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{
			Repo: r, Digest: image.Manifest.Digest, By: cause(), Referrers: true, Force: true,
		}))
		w.sameTags(r, "below", "list", "named")
		w.consistent()
	})
	t.Run("Q12 against the PUT of an index that names them", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		var children []meta.ManifestPut
		for _, content := range numbered("layer %d", 4) {
			children = append(children, w.image(nil, config, w.push(r, content)))
		}
		for range 10 {
			var manifests []meta.Manifest
			for _, child := range children {
				manifests = append(manifests, w.put(r, child))
			}
			indexes := []meta.ManifestPut{w.index(manifests...), w.index(manifests[3], manifests[1], manifests[2], manifests[0])}
			var put, deleted [2]error
			together(append(
				times(2, func(i int) { put[i] = w.tryPut(r, indexes[i], "index") }),
				times(2, func(i int) { deleted[i] = w.tryDelete(r, manifests[i*3].Digest) })...,
			)...)
			w.consistent() // no index misses a child
			for i := range 2 {
				ignore(t, put[i], fault.ManifestBlobUnknown)
				ignore(t, deleted[i], fault.UnsupportedReason)
				if deleted[i] == nil && errors.Join(put[0], put[1]) == nil {
					t.Error("an index was stored, and the child that it names deleted")
				}
				ignore(t, w.tryDelete(r, indexes[i].Manifest.Digest), fault.ManifestUnknown)
			}
		}
	})
	t.Run("Q13 may be missing where that is allowed, until they are pushed", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		sparse := w.index(image.Manifest)
		sparse.AllowMissingReferences = true
		w.put(r, sparse, "sparse")
		w.consistent()
		w.put(r, image)
		w.put(r, sparse, "sparse") // held from now on
		w.namedBy(r, image.Manifest, sparse.Manifest.Digest)
		w.consistent()
	})
}

// namedBy fails the test unless a manifest cannot be deleted for just that index.
func (w world) namedBy(r meta.Repo, m meta.Manifest, index oci.Digest) {
	w.t.Helper()
	if detail := w.parents(w.tryDelete(r, m.Digest)); !slices.Equal(detail, []oci.Digest{index}) {
		w.t.Errorf("%s is named by %v, want %s", m.Digest, detail, index)
	}
	if _, err := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: m.Digest}); err != nil {
		w.t.Errorf("after the refused deletion: %v", err)
	}
}

// parents are the indexes that a refused deletion names.
func (w world) parents(err error) []oci.Digest {
	w.t.Helper()
	w.refused(err, fault.Unsupported, fault.UnsupportedReason)
	detail, _ := fault.From(err).Detail.(map[string][]oci.Digest)
	return detail["parents"]
}
