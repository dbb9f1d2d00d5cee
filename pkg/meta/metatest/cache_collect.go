package metatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCacheCollector(t *testing.T, open Open) {
	t.Run("expires what is not pulled, with its tags, bytes and charge", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"), described("layer"))
		w.fetched(r, image, "v1")
		w.fill(r, "config")
		w.fill(r, "layer")
		w.Advance(keep - time.Second)
		w.collect()
		w.there(r, image)
		if got := w.used("acme"); got != int64(len("configlayer")) {
			t.Errorf("charged %d", got)
		}
		w.Advance(2 * time.Second)
		w.collect()
		w.gone(r, image)
		_, err := w.Store.FindCachedTag(t.Context(), r, "v1")
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.consistent()
		for range 2 { // unlink, then drop
			w.Advance(time.Second)
			w.collect()
		}
		if w.used("acme") != 0 || w.inState('L') != 0 {
			t.Errorf("charged %d, objects %v: no grace is left", w.used("acme"), w.objects())
		}
		w.collectAll()
		if len(w.objects()) != 0 {
			t.Errorf("objects %v", w.objects())
		}
		w.consistent()
		w.fetched(r, image, "v1") // the name can be used again
		w.there(r, image)
	})
	t.Run("expires bytes that were fetched a moment before", func(t *testing.T) {
		w, r := newCache(t, open)
		w.fetched(r, w.image(nil, described("config")), "v1")
		w.Advance(keep)
		w.fill(r, "config")
		w.Advance(time.Second)
		w.collect()
		for range 2 {
			w.Advance(time.Second)
			w.collect()
		}
		if w.used("acme") != 0 {
			t.Errorf("charged %d", w.used("acme"))
		}
		w.consistent()
	})
	t.Run("leaves what others hold", func(t *testing.T) {
		w, r := newCache(t, open)
		w.pushImage(w.repo("app"), "v1", "shared")
		first, second := w.image(nil, described("shared"), described("a")), w.image(nil, described("a"), described("b"))
		w.fetched(r, first)
		w.fetched(r, second)
		for _, content := range []string{"shared", "a", "b"} {
			w.fill(r, content)
		}
		w.Advance(keep / 2)
		w.pulled(r, second)
		w.Advance(keep/2 + time.Second)
		w.settle()
		w.gone(r, first)
		w.there(r, second)
		_, err := w.Store.FindBlob(t.Context(), r, digestOf("shared"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		for r, content := range map[meta.Repo]string{w.repo("app"): "shared", r: "a"} {
			if _, err := w.Store.FindBlob(t.Context(), r, digestOf(content)); err != nil {
				t.Errorf("%s: %v", content, err)
			}
		}
		if got := w.used("acme"); got != int64(len("sharedab")) {
			t.Errorf("charged %d", got)
		}
		w.consistent()
	})
	t.Run("RecordPulls keeps the indexes of what is pulled", func(t *testing.T) {
		w, r := newCache(t, open)
		child, other := w.image(nil, described("one")), w.image(nil, described("two"))
		index := w.index(child.Manifest, other.Manifest)
		top := w.index(index.Manifest)
		for _, m := range []meta.ManifestPut{top, index, child, other} {
			w.fetched(r, m)
		}
		w.Advance(keep - time.Second)
		w.pulled(r, child)
		w.Advance(keep - time.Second)
		w.collect()
		for _, m := range []meta.ManifestPut{top, index, child, other} {
			w.there(r, m) // other, too: an index names it that stays
		}
		w.consistent()
		w.Advance(2 * time.Second)
		w.collect()
		for _, m := range []meta.ManifestPut{top, index, child, other} {
			w.gone(r, m)
		}
		w.consistent()
	})
	t.Run("takes an index before its children, and no child of a younger one", func(t *testing.T) {
		w, r := newCache(t, open)
		shared, alone := w.image(nil, described("shared")), w.image(nil, described("alone"))
		old := w.index(shared.Manifest, alone.Manifest)
		for _, m := range []meta.ManifestPut{shared, alone} {
			w.fetched(r, m)
		}
		w.Advance(time.Hour)
		w.fetched(r, old, "old")
		w.Advance(time.Hour)
		young := w.index(shared.Manifest)
		w.fetched(r, young, "young")
		w.Advance(keep - 90*time.Minute) // the children's time is over, the indexes' is not
		w.collect()
		for _, m := range []meta.ManifestPut{old, young, shared, alone} {
			w.there(r, m)
		}
		w.Advance(time.Hour) // now the old index's, too
		w.collect()
		w.gone(r, old)
		w.gone(r, alone)
		w.there(r, young)
		w.there(r, shared)
		w.Advance(time.Hour)
		w.collect()
		w.gone(r, young)
		w.gone(r, shared)
		w.consistent()
	})
	t.Run("keeps what an index of indexes lists", func(t *testing.T) {
		w, r := newCache(t, open)
		child := w.image(nil, described("config"))
		index := w.index(child.Manifest)
		w.fetched(r, child)
		w.fetched(r, index)
		w.Advance(time.Hour)
		top := w.index(index.Manifest)
		w.fetched(r, top)
		w.Advance(keep - time.Minute)
		w.collect()
		for _, m := range []meta.ManifestPut{child, index, top} {
			w.there(r, m)
		}
		w.Advance(time.Hour)
		w.collect()
		for _, m := range []meta.ManifestPut{child, index, top} {
			w.gone(r, m)
		}
		w.consistent()
	})
	t.Run("does a little at a time, in any order of time", func(t *testing.T) {
		w, r := newCache(t, open)
		var puts []meta.ManifestPut
		for i := range 4 {
			child := w.image(nil, described(fmt.Sprint("a", i)), described(fmt.Sprint("b", i)))
			puts = append(puts, child, w.index(child.Manifest))
		}
		for i := range puts {
			w.fetched(r, puts[(i+3)%len(puts)])
			w.Advance(time.Second)
		}
		w.Advance(keep)
		for calls := 0; ; calls++ {
			n, err := w.Store.ExpireCached(t.Context(), 1)
			w.must(err)
			if n == 0 {
				break
			}
			if n > 1 {
				t.Errorf("%d in one call", n)
			}
			if calls > 4*len(puts) {
				t.Fatal("it does not come to an end")
			}
			w.consistent()
			for i := 0; i < len(puts); i += 2 {
				_, child := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: puts[i].Manifest.Digest})
				_, index := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: puts[i+1].Manifest.Digest})
				if child != nil && index == nil {
					t.Errorf("the child of index %d went before it", i)
				}
			}
		}
		for _, m := range puts {
			w.gone(r, m)
		}
	})
	t.Run("keeps what is put again", func(t *testing.T) {
		w, r := newCache(t, open)
		child := w.image(nil, described("config"))
		index := w.index(child.Manifest)
		w.fetched(r, index, "v1")
		w.fetched(r, child)
		w.Advance(keep - time.Second)
		w.fetched(r, index, "v1")
		w.Advance(time.Hour)
		w.collect()
		w.there(r, index)
		w.there(r, child)
		w.Advance(keep)
		w.collect()
		w.gone(r, index)
		w.gone(r, child)
	})
	t.Run("never expires what is hosted", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.pushImage(w.repo("app"), "v1", "config")
		w.Advance(1000 * keep)
		w.settle()
		if got := w.tagged(w.repo("app"), "v1"); got != m.Digest {
			t.Errorf("v1 is %q", got)
		}
	})
}

// settle collects until what was released a moment ago is gone.
func (w world) settle() {
	w.t.Helper()
	for range 3 {
		w.collect()
		w.Advance(time.Second)
	}
}

func (w world) pulled(r meta.Repo, pulls ...meta.ManifestPut) {
	w.t.Helper()
	var all []meta.CachedPull
	for _, p := range pulls {
		all = append(all, meta.CachedPull{Repo: r, Digest: p.Manifest.Digest, Keep: keep})
	}
	w.must(w.Store.RecordPulls(w.t.Context(), all))
}

func (w world) there(r meta.Repo, p meta.ManifestPut) {
	w.t.Helper()
	if _, err := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: p.Manifest.Digest}); err != nil {
		w.t.Errorf("%s: %v", p.Manifest.Payload, err)
	}
}

func (w world) gone(r meta.Repo, p meta.ManifestPut) {
	w.t.Helper()
	_, err := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: p.Manifest.Digest})
	if !fault.Is(err, fault.ManifestUnknown) {
		w.t.Errorf("%s: %v", p.Manifest.Payload, err)
	}
}
