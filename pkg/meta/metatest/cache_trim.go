package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
)

// cachedImage fetches an image of blobs of 1000 bytes each, after all before it.
func (w world) cachedImage(r meta.Repo, contents ...string) meta.ManifestPut {
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
	w.Advance(2 * time.Hour) // pulls of one hour may count as one
	return m
}

// trim trims the caches to keep bytes, and collects after each step.
func (w world) trim(keep int64) {
	w.t.Helper()
	for {
		n, err := w.Store.TrimCached(w.t.Context(), keep, 3)
		w.must(err)
		if n == 0 {
			break
		}
		w.Advance(time.Second)
		w.settle()
	}
	w.consistent()
}

func (w world) cacheSize() meta.CacheSize {
	w.t.Helper()
	size, err := w.Store.CacheSize(w.t.Context())
	w.must(err)
	return size
}

// kilobyte is a text of 1000 bytes that begins with name.
func kilobyte(name string) string {
	text := make([]byte, 1000)
	copy(text, name)
	return string(text)
}

func testCacheTrim(t *testing.T, open Open) {
	t.Run("takes what was pulled least recently, and counts its bytes until they are deleted", func(t *testing.T) {
		w, r := newCache(t, open)
		first := w.cachedImage(r, kilobyte("a"))
		second := w.cachedImage(r, kilobyte("b"))
		third := w.cachedImage(r, kilobyte("c"))
		w.pulled(r, first)
		w.Advance(2 * time.Hour)
		all := w.cacheSize()
		if all.Evicted != 0 || all.Cached < 3000 || all.Cached > 20000 {
			t.Fatalf("%+v", all)
		}
		w.trim(all.Cached)
		w.there(r, second)
		w.trim(all.Cached - 1)
		w.gone(r, second)
		w.there(r, first)
		w.there(r, third)
		if size := w.cacheSize(); size.Evicted != 1000 || size.Cached >= all.Cached-1000 {
			t.Errorf("%+v, before: %+v", size, all)
		}
		w.Advance(meta.DefaultLifetimes.Evicted - 10*time.Second)
		w.collect()
		if size := w.cacheSize(); size.Evicted != 1000 {
			t.Errorf("deleted too early: %+v", size)
		}
		w.Advance(20 * time.Second)
		w.collect()
		if size := w.cacheSize(); size.Evicted != 0 {
			t.Errorf("not deleted: %+v", size)
		}
		w.trim(0)
		w.gone(r, first)
		w.gone(r, third)
	})
	t.Run("T41 what was ever hosted waits for the restore window", func(t *testing.T) {
		w, r := newCache(t, open)
		w.cachedImage(r, kilobyte("a"))
		never, err := w.Store.FindNeverHosted(t.Context(), w.tenant, digestsOf(kilobyte("a"), kilobyte("unknown")))
		w.must(err)
		if len(never) != 1 || never[0].Digest != digestOf(kilobyte("a")) || never[0].Size != 1000 {
			t.Errorf("never hosted: %+v", never)
		}
		_, err = w.Store.AdoptBlobs(t.Context(), cause(), []meta.Repo{r}, w.repo("app"), digestsOf(kilobyte("a")))
		w.must(err)
		if never, err = w.Store.FindNeverHosted(t.Context(), w.tenant, digestsOf(kilobyte("a"))); err != nil || len(never) > 0 {
			t.Errorf("never hosted: %+v, %v", never, err)
		}
		w.must(w.Store.DeleteBlob(t.Context(), cause(), w.repo("app"), digestOf(kilobyte("a"))))
		w.settle()
		w.trim(0)
		if size := w.cacheSize(); size.Evicted != 0 {
			t.Errorf("%+v", size)
		}
		w.Advance(meta.DefaultLifetimes.DeleteDelay - time.Minute)
		w.collect()
		if n := w.inState('D'); n != 1 {
			t.Errorf("%d condemned objects, want 1", n)
		}
	})
	t.Run("T41 a blob that is linked meanwhile stays", func(t *testing.T) {
		w, r := newCache(t, open)
		w.cachedImage(r, kilobyte("a"))
		w.pushImage(w.repo("app"), "v1", kilobyte("b"))
		w.cachedImage(r, kilobyte("b"))
		n, err := w.Store.TrimCached(t.Context(), 0, 10)
		w.must(err)
		if n == 0 {
			t.Error("nothing was trimmed")
		}
		missing, err := w.Store.AdoptBlobs(t.Context(), cause(), []meta.Repo{r}, w.repo("app"), digestsOf(kilobyte("a")))
		w.must(err)
		if len(missing) > 0 {
			t.Errorf("%v was not adopted", missing)
		}
		w.Advance(time.Second)
		w.trim(0)
		w.Advance(meta.DefaultLifetimes.Grace - time.Hour)
		w.collect()
		w.holds(w.repo("app"), kilobyte("a"), kilobyte("b"))
	})
	t.Run("releases blobs that no manifest names", func(t *testing.T) {
		w, r := newCache(t, open)
		w.fill(r, kilobyte("old"))
		image := w.cachedImage(r, kilobyte("a"))
		w.fill(r, kilobyte("new"))
		size := w.cacheSize()
		w.trim(size.Cached - 1000)
		w.there(r, image)
		w.holds(r, kilobyte("new"), kilobyte("a"))
		if _, err := w.Store.FindBlob(t.Context(), r, digestOf(kilobyte("old"))); err == nil {
			t.Error("the old one is there")
		}
	})
	t.Run("takes from the tenant farthest over its share", func(t *testing.T) {
		w, r := newCache(t, open)
		small := w.cachedImage(r, kilobyte("small"))
		crowd := w
		crowd.tenant, _ = w.addTenant("crawler", 0)
		u := crowd.addUpstream("ghcr", meta.UpstreamSettings{Keep: keep})
		theirs := meta.Repo{Tenant: crowd.tenant, Registry: u.Cache, Name: "library/app"}
		for _, content := range numbered("crawled %d", 9) {
			crowd.cachedImage(theirs, kilobyte(content))
		}
		size := w.cacheSize()
		w.trim(size.Cached / 2)
		w.there(r, small)
		if now := w.cacheSize().Cached; now > size.Cached/2 || now < size.Cached/4 {
			t.Errorf("%d of %d bytes are left", now, size.Cached)
		}
	})
}
