package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

func testCacheEviction(t *testing.T, open Open) {
	// limited is a world whose cache takes so many bytes, and its repository.
	limited := func(t *testing.T, bytes int64) (world, meta.Repo) {
		t.Helper()
		w, r := newCache(t, open)
		u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		u.Settings.MaxBytes = bytes
		_, err = w.Store.UpdateUpstream(t.Context(), cause(), u, false)
		w.must(err)
		return w, r
	}
	const apart = 2 * time.Hour // pulls of one hour may count as one
	// image fetches an image of these blobs, after all before it.
	image := func(w world, r meta.Repo, contents ...string) meta.ManifestPut {
		w.t.Helper()
		var blobs []meta.Blob
		for _, content := range contents {
			blobs = append(blobs, described(content))
		}
		m := w.image(nil, blobs...)
		w.fetched(r, m)
		for _, content := range contents {
			w.fill(r, content)
		}
		w.Advance(apart)
		return m
	}
	evict := func(w world, want int) {
		w.t.Helper()
		total := 0
		for {
			n, err := w.Store.EvictCached(w.t.Context(), 10)
			w.must(err)
			if total += n; n == 0 {
				break
			}
		}
		if total != want {
			w.t.Errorf("evicted %d manifests, want %d", total, want)
		}
		w.Advance(time.Second)
		w.settle()
		w.consistent()
	}
	t.Run("takes what was pulled least recently, until the rest fits", func(t *testing.T) {
		w, r := limited(t, 30)
		other := r
		other.Name = "another"
		first := image(w, r, "10 bytes a")
		second := image(w, other, "10 bytes b")
		third := image(w, r, "10 bytes c")
		evict(w, 0) // it fits exactly
		w.pulled(r, first)
		w.Advance(apart)
		fourth := image(w, other, "10 bytes d", "10 bytes e")
		evict(w, 2)
		w.gone(other, second)
		w.gone(r, third)
		w.there(r, first)
		w.there(other, fourth)
		if got := w.used("acme"); got != 30 {
			t.Errorf("charged %d", got)
		}
		evict(w, 0)
	})
	t.Run("frees a shared blob with its last image", func(t *testing.T) {
		w, r := limited(t, 10)
		for _, content := range numbered("config %d", 3) {
			w.fetched(r, w.image(nil, described(content), described("10 bytes s")))
			w.Advance(time.Second)
		}
		w.fill(r, "10 bytes s")
		last := image(w, r, "10 bytes b")
		evict(w, 3)
		w.there(r, last)
	})
	t.Run("counts a shared blob once", func(t *testing.T) {
		w, r := limited(t, 20)
		other := r
		other.Name = "another"
		first := image(w, r, "10 bytes a", "10 bytes s")
		second := image(w, other, "10 bytes s")
		evict(w, 0)
		third := image(w, r, "10 bytes b")
		evict(w, 1)
		w.gone(r, first)
		w.there(other, second)
		w.there(r, third)
		w.pushImage(w.repo("app"), "v1", "10 bytes x", "10 bytes y", "10 bytes z") // what is hosted does not count
		evict(w, 0)
		if got := w.used("acme"); got != 50 {
			t.Errorf("charged %d", got)
		}
	})
	t.Run("takes an index with its children, and by its own last pull", func(t *testing.T) {
		w, r := limited(t, 40)
		one, two := image(w, r, "10 bytes a"), image(w, r, "10 bytes b")
		index := w.index(one.Manifest, two.Manifest)
		w.fetched(r, index, "v1")
		w.Advance(apart)
		single := image(w, r, "10 bytes c")
		w.pulled(r, one) // and so its index
		w.Advance(apart)
		last := image(w, r, "10 bytes d", "10 bytes e")
		evict(w, 1)
		w.gone(r, single)
		for _, m := range []meta.ManifestPut{one, two, index, last} {
			w.there(r, m)
		}
		later := image(w, r, "10 bytes f")
		evict(w, 3)
		for _, m := range []meta.ManifestPut{one, two, index} {
			w.gone(r, m)
		}
		w.there(r, last)
		w.there(r, later)
	})
	t.Run("leaves of an index's children what is younger, or another one's", func(t *testing.T) {
		w, r := limited(t, 30)
		own, young, shared := image(w, r, "10 bytes a"), image(w, r, "10 bytes b"), image(w, r, "10 bytes c")
		index := w.index(own.Manifest, young.Manifest, shared.Manifest)
		w.fetched(r, index, "v1")
		w.Advance(time.Second)
		w.fetched(r, young)
		second := w.index(shared.Manifest)
		w.fetched(r, second, "v2")
		w.Advance(time.Second)
		last := image(w, r, "10 bytes d")
		evict(w, 2)
		w.gone(r, index)
		w.gone(r, own)
		for _, m := range []meta.ManifestPut{young, shared, second, last} {
			w.there(r, m)
		}
	})
	t.Run("counts each cache for itself", func(t *testing.T) {
		w, r := limited(t, 20)
		second := meta.Repo{Tenant: w.tenant, Registry: w.addUpstream("quay", meta.UpstreamSettings{MaxBytes: 20}).Cache, Name: "app"}
		image(w, r, "10 bytes a")
		kept := image(w, r, "10 bytes b")
		theirs := image(w, second, "10 bytes a")
		last := image(w, r, "10 bytes c")
		evict(w, 1) // what the other cache has, too, goes from this one anyway
		w.there(r, kept)
		w.there(r, last)
		w.there(second, theirs)
		if got := w.used("acme"); got != 30 {
			t.Errorf("charged %d", got)
		}
	})
	t.Run("leaves caches without a limit, and those that fit", func(t *testing.T) {
		w, r := limited(t, 10)
		free := w.addUpstream("quay", meta.UpstreamSettings{})
		big := meta.Repo{Tenant: w.tenant, Registry: free.Cache, Name: r.Name}
		kept := image(w, big, "10 bytes a", "10 bytes b", "10 bytes c")
		fits := image(w, r, "10 bytes d")
		evict(w, 0)
		w.there(big, kept)
		w.there(r, fits)
	})
	t.Run("does a little at a time", func(t *testing.T) {
		w, r := limited(t, 10)
		for _, content := range numbered("10 bytes %d", 8) {
			image(w, r, content)
		}
		total := 0
		for range 7 {
			n, err := w.Store.EvictCached(t.Context(), 3)
			w.must(err)
			if n > 3 {
				t.Errorf("%d in one call", n)
			}
			total += n
		}
		if total != 7 {
			t.Errorf("evicted %d, want 7", total)
		}
	})
	t.Run("what is pulled meanwhile stays", func(t *testing.T) {
		w, r := limited(t, 10)
		first, second := image(w, r, "10 bytes a"), image(w, r, "10 bytes b")
		n, err := w.Store.EvictCached(t.Context(), 10)
		if err != nil || n != 1 {
			t.Errorf("evicted %d, %v", n, err)
		}
		w.pulled(r, first)
		w.Advance(time.Second)
		_, err = w.Store.ExpireCached(t.Context(), 10)
		w.must(err)
		w.there(r, first)
		w.there(r, second)
	})
}
