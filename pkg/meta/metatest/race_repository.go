package metatest

import (
	"fmt"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testRepositoryRaces lets operations meet that lock many rows of a repository,
// or the repository itself.
func testRepositoryRaces(t *testing.T, open Open) {
	t.Run("D7 movers of many tags at once", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		tags := numbered("v%d", 6)
		images := make([]meta.ManifestPut, 8)
		for i := range images {
			images[i] = w.image(nil, w.push(r, fmt.Sprint(i)), w.push(r, "shared"))
		}
		together(times(len(images), func(i int) {
			for j := range tags {
				turned := append(append([]string(nil), tags[j:]...), tags[:j]...)
				if err := w.tryPut(r, images[(i+j)%len(images)], turned...); err != nil {
					t.Error(err)
				}
			}
		})...)
		// Each put moved all of them, so they all point to one manifest.
		for _, tag := range tags {
			if got, want := w.tagged(r, tag), w.tagged(r, tags[0]); got == "" || got != want {
				t.Errorf("%s is %q, %s is %q", tag, got, tags[0], want)
			}
		}
		w.consistent()
	})
	t.Run("R49 the last delete against a push", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first, second := w.image(nil, w.push(r, "first")), w.image(nil, w.push(r, "second"))
		for range 20 {
			w.put(r, first, "v1")
			together(
				func() { w.fine(w.tryDelete(r, first.Manifest.Digest)) },
				func() { w.fine(w.tryPut(r, second, "v2")) },
			)
			w.names([]string{"app"}, "", 10)
			w.must(w.tryDelete(r, second.Manifest.Digest))
			w.names(nil, "", 10)
		}
		w.consistent()
	})
	t.Run("R49 pushes against the repository's delete", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		pushes := times(6, func(i int) {
			for _, content := range numbered(fmt.Sprint(i)+"/%d", 5) {
				b, err := w.tryPush(r, content)
				if err == nil {
					err = w.tryPut(r, w.image(nil, b), "v1")
				}
				// What the repository held is gone, and its name is another one's.
				ignore(t, err, fault.NameUnknown, fault.BlobUploadUnknown, fault.ManifestBlobUnknown)
			}
		})
		deletes := times(2, func(int) {
			for range 5 {
				ignore(t, w.Store.DeleteRepository(t.Context(), cause(), r), fault.NameUnknown)
				w.fine(w.tryCollect())
			}
		})
		together(append(pushes, deletes...)...)
		w.consistent()
		ignore(t, w.Store.DeleteRepository(t.Context(), cause(), r), fault.NameUnknown)
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("R50 janitors share what is deleted", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		for _, content := range numbered("config %d", 8) {
			other.pushImage(other.repo("gone/"+digestOf(content).Hex()[:6]), "v1", content, "shared")
			other.stage(other.repo("gone/staged"), content)
		}
		w.pushImage(w.repo("kept"), "v1", "config 1", "shared")
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "other", 0, true))
		for range 4 {
			w.Advance(meta.DefaultLifetimes.DeleteDelay * 2)
			together(times(4, func(int) { w.fine(w.tryCollect()) })...)
		}
		w.collectAll()
		if left := w.objects(); len(left) != 2 {
			t.Errorf("objects %v", left)
		}
		_, err := w.Store.FindManifest(t.Context(), w.repo("kept"), oci.Reference{Tag: "v1"})
		w.must(err)
		w.consistent()
	})
}

// fine fails the test for an error, and continues: for other goroutines.
func (w world) fine(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}
