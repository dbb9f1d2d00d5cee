package metatest

import (
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testRepositories(t *testing.T, open Open) {
	t.Run("are seen once they hold a manifest", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("team/app")
		config := w.push(r, "config")
		_, err := w.Store.FindRepository(t.Context(), r)
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.names(nil, "", 10)

		m := w.put(r, w.image(nil, config), "v1", "v2")
		w.names([]string{"team/app"}, "", 10)
		found, err := w.Store.FindRepository(t.Context(), r)
		w.must(err)
		want := meta.Repository{Name: "team/app", Manifests: 1, Tags: 2, Size: config.Size, CreatedAt: found.CreatedAt}
		if found != want || !found.CreatedAt.Equal(w.Now()) {
			t.Errorf("found %+v, want %+v made at %s", found, want, w.Now())
		}

		w.must(w.tryDelete(r, m.Digest))
		w.names(nil, "", 10)
		w.put(r, w.image(nil, config), "v3")
		w.names([]string{"team/app"}, "", 10)
		w.consistent()
	})
	t.Run("page in byte order", func(t *testing.T) {
		w := newWorld(t, open)
		index := w.index()
		for _, name := range []string{"b", "a/b", "a-b", "a", "a.b", "a_b", "a0"} {
			w.put(w.repo(name), index)
		}
		_, other := w.addTenant("other", 0)
		w.names([]string{"a", "a-b", "a.b"}, "", 3)
		w.names([]string{"a/b", "a0", "a_b"}, "a.b", 3)
		w.names([]string{"b"}, "a_b", 3)
		w.names([]string{"a-b"}, "a", 1)
		w.names(nil, "", 0)
		w.names(nil, "b", 3)
		names, err := w.Store.ListRepositories(t.Context(), w.tenant, other, meta.Page{Size: 10})
		if err != nil || len(names) != 0 {
			t.Errorf("another registry lists %v, %v", names, err)
		}
	})
	t.Run("P30 are read in parts, either way", func(t *testing.T) {
		w := newWorld(t, open)
		index := w.index()
		for _, name := range []string{"b", "a/b", "a-b", "a", "a.b", "a_b", "a0", "deleted"} {
			w.put(w.repo(name), index)
		}
		w.must(w.Store.DeleteRepository(t.Context(), cause(), w.repo("deleted")))
		w.push(w.repo("unseen"), "config")
		acme := w.tenant
		_, other := w.addTenant("other", 0)
		testBetween(t, []string{"a", "a-b", "a.b", "a/b", "a0", "a_b", "b"}, func(b meta.Between[string]) ([]string, error) {
			return w.Store.RepositoriesBetween(t.Context(), acme, w.registry, b)
		})
		testBetween(t, nil, func(b meta.Between[string]) ([]string, error) {
			return w.Store.RepositoriesBetween(t.Context(), acme, other, b)
		})
	})
	t.Run("deleted ones are gone at once", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		by := cause()
		w.must(w.Store.DeleteRepository(t.Context(), by, r))
		w.must(w.Store.DeleteRepository(t.Context(), by, r)) // the same request again
		w.refused(w.Store.DeleteRepository(t.Context(), cause(), r), fault.NotFound, fault.NameUnknown)
		w.names(nil, "", 10)
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"})
		w.refused(err, fault.NotFound, fault.NameUnknown)
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		w.refused(w.tryDelete(r, m.Digest), fault.NotFound, fault.NameUnknown)
		w.refused(w.Store.DeleteTag(t.Context(), cause(), r, "v1"), fault.NotFound, fault.NameUnknown)
		_, err = w.Store.ListTags(t.Context(), r, meta.Page{Size: 1})
		w.refused(err, fault.NotFound, fault.NameUnknown)

		// The name is free for another repository, which has none of the old content.
		w.pushImage(r, "v2", "config")
		w.collect()
		tags, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 9})
		if err != nil || !slices.Equal(tags, []string{"v2"}) {
			t.Errorf("tags %v, %v", tags, err)
		}
		w.consistent()
	})
}

// names fails the test unless the page of repositories is what it should be.
func (w world) names(want []string, after string, size int) {
	w.t.Helper()
	got, err := w.Store.ListRepositories(w.t.Context(), w.tenant, w.registry, meta.Page{After: after, Size: size})
	if err != nil || !slices.Equal(got, want) {
		w.t.Errorf("repositories after %q: %v, %v; want %v", after, got, err, want)
	}
}
