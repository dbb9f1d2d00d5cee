package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// testProvisional is about manifests that are put for the sake of an index.
func testProvisional(t *testing.T, open Open) {
	const grace = 25 * time.Hour // meta.DefaultLifetimes.Grace
	t.Run("G15 goes unless something names it", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.image(nil, w.push(r, "config"))
		w.putProvisional(r, child)
		w.consistent()
		w.names(nil, "", 10)
		w.claimed(false, "app", w.registry)
		w.Advance(grace - time.Second)
		w.collect()
		w.there(r, child)
		w.Advance(2 * time.Second)
		w.settle()
		w.gone(r, child)
		w.holds(r, "config") // as after a delete: a HEAD may have promised it
		w.Advance(meta.DefaultLifetimes.Released - time.Minute)
		w.collect()
		w.holds(r, "config")
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.claimed(false, "app", w.registry)
		w.consistent()
	})
	for what, put := range map[string]func(w world, r meta.Repo, child meta.ManifestPut){
		"an index that names it":  func(w world, r meta.Repo, child meta.ManifestPut) { w.put(r, w.index(child.Manifest), "v1") },
		"a tag":                   func(w world, r meta.Repo, child meta.ManifestPut) { w.put(r, child, "v1") },
		"a push of it by digest":  func(w world, r meta.Repo, child meta.ManifestPut) { w.put(r, child) },
		"a push before, for good": func(world, meta.Repo, meta.ManifestPut) {},
	} {
		t.Run("G15 stays after "+what, func(t *testing.T) {
			w := newWorld(t, open)
			r := w.repo("app")
			child := w.image(nil, w.push(r, "config"))
			if what == "a push before, for good" {
				w.put(r, child)
			}
			w.putProvisional(r, child)
			w.Advance(grace + time.Minute) // past its time, and still there
			put(w, r, child)
			w.consistent()
			w.names([]string{"app"}, "", 10)
			w.claimed(true, "app", w.registry)
			w.collectAll()
			w.there(r, child)
			w.holds(r, "config")
			// What lasts, lasts: the index that named it may go.
			if what == "an index that names it" {
				w.must(w.tryDelete(r, w.index(child.Manifest).Manifest.Digest))
				w.collectAll()
				w.there(r, child)
			}
			w.consistent()
		})
	}
	t.Run("G15 a level below the next", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.image(nil, w.push(r, "config"))
		below := w.index(child.Manifest)
		top := w.index(below.Manifest)
		failed := w.index(below.Manifest, child.Manifest)
		w.putProvisional(r, child)
		w.Advance(time.Hour)
		w.putProvisional(r, below)
		w.Advance(grace - time.Minute) // past the child's time, not the index's
		w.collect()
		w.there(r, child)
		w.there(r, below)
		w.put(r, top, "v1")
		w.consistent()
		for range 3 {
			w.collectAll()
			w.there(r, child)
			w.there(r, below)
			w.consistent()
		}
		w.holds(r, "config")
		w.must(w.tryDelete(r, top.Manifest.Digest))
		// And where the last PUT does not come, all of it goes.
		second := w.image(nil, w.push(r, "second"))
		unfinished := w.index(second.Manifest)
		w.putProvisional(r, second)
		w.putProvisional(r, unfinished)
		w.putProvisional(r, failed)
		w.collectAll()
		for _, m := range []meta.ManifestPut{second, unfinished, failed} {
			w.gone(r, m)
		}
		w.consistent()
	})
	t.Run("G15 two indexes that name each other's child", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child, other := w.image(nil, w.push(r, "one")), w.image(nil, w.push(r, "two"))
		w.putProvisional(r, child)
		w.putProvisional(r, other)
		w.put(r, w.index(child.Manifest), "v1")
		w.putProvisional(r, w.index(child.Manifest, other.Manifest))
		w.collectAll()
		w.there(r, child)
		w.gone(r, other)
		w.consistent()
	})
	t.Run("takes no tag", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.image(nil, w.push(r, "config"))
		child.Provisional = true
		if err := w.tryPut(r, child, "v1"); fault.KindOf(err) != fault.Internal || w.tagged(r, "v1") != "" {
			t.Errorf("%v, and the tag is %q", err, w.tagged(r, "v1"))
		}
	})
	t.Run("put once more, it stays as long as the last time says", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.image(nil, w.push(r, "config"))
		w.putProvisional(r, child)
		w.Advance(grace / 2)
		w.putProvisional(r, child)
		w.Advance(grace/2 + time.Minute)
		w.collect()
		w.there(r, child)
		w.collectAll()
		w.gone(r, child)
	})
}
