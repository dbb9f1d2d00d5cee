package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCachePurge(t *testing.T, open Open) {
	t.Run("forgets a tag", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		w.fetched(r, image, "v1")
		w.fetched(r, image, "v2")
		by := cause()
		w.must(w.Store.PurgeCached(t.Context(), by, r, oci.Reference{Tag: "v1"}))
		w.must(w.Store.PurgeCached(t.Context(), by, r, oci.Reference{Tag: "v1"})) // the same request again
		w.told("cache.purge upstreams/ghcr/repositories/library/app:v1", "upstream.create upstreams/ghcr")
		w.refused(w.Store.PurgeCached(t.Context(), cause(), r, oci.Reference{Tag: "v1"}), fault.NotFound, fault.ManifestUnknown)
		w.cachedTag(r, "v2", image, w.Now())
	})
	t.Run("forgets a manifest with its tags, and frees its bytes", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		index := w.index(image.Manifest)
		w.fetched(r, index, "index")
		w.fetched(r, image, "v1")
		w.fetched(r, image, "v2")
		w.fill(r, "config")
		d := image.Manifest.Digest
		by := cause()
		w.must(w.Store.PurgeCached(t.Context(), by, r, oci.Reference{Digest: d}))
		w.must(w.Store.PurgeCached(t.Context(), by, r, oci.Reference{Digest: d})) // the same request again
		w.told("cache.purge upstreams/ghcr/repositories/library/app@" + d.String())
		w.refused(w.Store.PurgeCached(t.Context(), cause(), r, oci.Reference{Digest: d}), fault.NotFound, fault.ManifestUnknown)
		w.gone(r, image)
		for _, tag := range []string{"v1", "v2"} {
			_, err := w.Store.FindCachedTag(t.Context(), r, tag)
			w.refused(err, fault.NotFound, fault.ManifestUnknown)
		}
		w.cachedTag(r, "index", index, w.Now())
		w.Advance(time.Second)
		w.settle()
		if got := w.used("acme"); got != 0 {
			t.Errorf("charged %d", got)
		}
		w.consistent()
	})
	t.Run("forgets a repository, and its name is free at once", func(t *testing.T) {
		w, r := newCache(t, open)
		other := r
		other.Name = "another"
		image := w.image(nil, described("config"))
		for _, r := range []meta.Repo{r, other} {
			w.fetched(r, image, "v1")
			w.fill(r, "config")
		}
		by := cause()
		w.must(w.Store.PurgeCached(t.Context(), by, r, oci.Reference{}))
		w.must(w.Store.PurgeCached(t.Context(), by, r, oci.Reference{})) // the same request again
		w.told("cache.purge upstreams/ghcr/repositories/library/app")
		w.refused(w.Store.PurgeCached(t.Context(), cause(), r, oci.Reference{}), fault.NotFound, fault.NameUnknown)
		w.nothingCached(r, image.Manifest.Digest, "v1", "config")
		w.cachedTag(other, "v1", image, w.Now())
		w.fetched(r, image, "v2")
		w.collect()
		_, err := w.Store.FindCachedTag(t.Context(), r, "v1")
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.cachedTag(r, "v2", image, w.Now())
		w.consistent()
	})
	t.Run("removes caches with their tenant, and leaves the others", func(t *testing.T) {
		w, r := newCache(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		gone := meta.Repo{Tenant: other.tenant, Registry: other.addUpstream("ghcr", meta.UpstreamSettings{}).Cache, Name: "app"}
		for _, r := range []meta.Repo{gone, r} {
			config := described("config of all")
			for _, content := range numbered("layer %d", 12) {
				child := w.image(nil, config, described(content))
				w.fetched(r, child, content[6:])
				w.fetched(r, w.index(child.Manifest), "index"+content[6:])
				w.fill(r, content)
			}
			w.stage(r, "unfinished")
		}
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "other", 0, true))
		w.purge()
		w.settle()
		for k, state := range w.objects() {
			if k.Tenant == int64(other.tenant) && state != 'D' {
				t.Errorf("object %s is left in state %q", k, state)
			}
		}
		for _, tag := range []string{"0", "11", "index3"} {
			if _, err := w.Store.FindCachedTag(t.Context(), r, tag); err != nil {
				t.Errorf("%s: %v", tag, err)
			}
		}
		w.consistent()
	})
}
