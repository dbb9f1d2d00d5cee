package metatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testCacheRaces lets fetches meet the janitor, each other and the operator.
// Nothing that is cached is promised to stay, but whatever happens the rows must
// be those of some order.
func testCacheRaces(t *testing.T, open Open) {
	t.Run("fetches against their expiry", func(t *testing.T) {
		w, r := newCache(t, open)
		child := w.image(nil, described("config"), described("layer"))
		index := w.index(child.Manifest)
		for range 20 {
			w.fetched(r, index, "v1")
			w.fetched(r, child)
			w.fill(r, "config")
			w.Advance(keep + time.Second)
			together(
				func() { w.fine(w.tryFetched(r, index, "v1")) },
				func() { w.fine(w.tryFetched(r, child, "v2")) },
				func() { w.fine(w.tryCollect()) },
				func() { w.fine(w.tryCollect()) },
				func() {
					w.fine(w.Store.RecordPulls(t.Context(), []meta.CachedPull{{Repo: r, Digest: child.Manifest.Digest, Keep: keep}}))
				},
			)
			// Who came last put it, or the janitor left it.
			w.cachedTag(r, "v1", index, w.Now())
			w.cachedTag(r, "v2", child, w.Now())
			w.consistent()
		}
		w.Advance(keep + time.Second)
		w.settle()
		w.gone(r, index)
		if w.used("acme") != 0 {
			t.Errorf("charged %d", w.used("acme"))
		}
		w.consistent()
	})
	t.Run("links against the collector", func(t *testing.T) {
		w, r := newCache(t, open)
		linked := 0
		for i, content := range numbered("blob %d", 25) {
			b := w.push(w.repo("app"), content)
			w.Advance(meta.DefaultLifetimes.Grace + time.Second)
			w.collect()
			w.Advance(time.Second) // now it is to be dropped
			var err error
			together(
				func() { _, err = w.Store.LinkBlob(t.Context(), r, b.Digest) },
				func() { w.fine(w.tryCollect()) },
			)
			found, missing := w.Store.FindBlob(t.Context(), r, b.Digest)
			switch {
			case err == nil && (missing != nil || found != b):
				t.Errorf("linked, but found %+v, %v", found, missing)
			case err == nil:
				linked++
				image := w.image(nil, b)
				put := meta.CachedPut{Repo: r, Manifest: image.Manifest, Parsed: image.Parsed, Keep: 10 * keep}
				w.must(w.Store.PutCached(t.Context(), put))
			case !fault.Is(err, fault.BlobUnknown):
				t.Error(err)
			}
			if i%5 == 0 {
				w.consistent()
			}
		}
		w.collectAll()
		if left := w.inState('L'); left != linked {
			t.Errorf("%d were linked, %d are left", linked, left)
		}
		w.consistent()
	})
	t.Run("fetches of one manifest by many", func(t *testing.T) {
		w, r := newCache(t, open)
		child := w.image(nil, described("config"))
		index := w.index(child.Manifest)
		together(times(16, func(i int) {
			w.fine(w.tryFetched(r, []meta.ManifestPut{index, child}[i%2], fmt.Sprint("v", i%3)))
			_, err := w.tryFill(r, "config")
			w.fine(err)
			w.fine(w.Store.RecordPulls(t.Context(), []meta.CachedPull{{Repo: r, Digest: child.Manifest.Digest, Keep: keep}}))
		})...)
		w.there(r, index)
		w.there(r, child)
		if w.used("acme") != int64(len("config")) {
			t.Errorf("charged %d", w.used("acme"))
		}
		w.consistent()
	})
	t.Run("fetches against a renewal", func(t *testing.T) {
		w, r := newCache(t, open)
		for range 8 {
			u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
			w.must(err)
			r.Registry = u.Cache
			fetches := times(4, func(i int) {
				for _, content := range numbered(fmt.Sprint(i)+"/%d", 4) {
					err := w.tryFetched(r, w.image(nil, described(content)), "v1")
					if err == nil {
						_, err = w.tryFill(r, content)
					}
					ignore(t, err, fault.NameUnknown, fault.BlobUploadUnknown)
				}
			})
			together(append(fetches, func() {
				_, err := w.Store.UpdateUpstream(t.Context(), cause(), u, true)
				w.fine(err)
				w.fine(w.tryCollect())
			})...)
			w.consistent()
		}
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("fetches against purges and drops", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		for i := range 20 {
			w.fetched(r, image, "v1")
			w.fill(r, "config")
			ref := []oci.Reference{{}, {Tag: "v1"}, {Digest: image.Manifest.Digest}}[i%3]
			together(
				func() {
					ignore(t, w.Store.PurgeCached(t.Context(), cause(), r, ref), fault.ManifestUnknown)
				},
				func() { w.fine(w.tryFetched(r, image, "v1")) },
				func() { w.fine(w.Store.DropCachedTag(t.Context(), r, "v1")) },
				func() {
					ignore(t, w.Store.ConfirmCachedTag(t.Context(), r, "v1", image.Manifest.Digest), fault.ManifestUnknown, fault.NameUnknown)
				},
				func() { w.fine(w.tryCollect()) },
			)
			w.consistent()
		}
	})
}
