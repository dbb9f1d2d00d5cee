package metatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// large is content of about n bytes.
func large(name string, n int) string { return fmt.Sprintf("%s%0*d", name, n, 0) }

func testTrashQuota(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	const layer = 100_000
	full := func(t *testing.T) (world, meta.Repo, meta.Manifest) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", layer+50_000)
		r := w.repo("app")
		return w, r, w.pushImage(r, "v1", "config", large("a", layer))
	}
	t.Run("W10 a tenant at its quota can delete, push and delete again", func(t *testing.T) {
		w, r, first := full(t)
		_, err := w.tryPush(r, large("b", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.must(w.tryDelete(r, first.Digest))
		w.consistent()
		second := w.pushImage(r, "v1", "config", large("b", layer))
		w.consistent()
		w.refused(w.undelete(r, first.Digest, "restored"), fault.NotFound, fault.ManifestUnknown) // it gave way
		w.must(w.tryDelete(r, second.Digest))
		// Nothing grows beyond twice the quota.
		_, err = w.tryPush(r, large("c", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.consistent()
		for _, wait := range []time.Duration{life.Grace + time.Second, time.Second, time.Second} {
			w.Advance(wait)
			w.collect()
		}
		w.pushImage(r, "v1", "config", large("c", layer))
		w.collectAll()
		w.consistent()
	})
	t.Run("W10 what fits stays in the trash, and counts again once it is restored", func(t *testing.T) {
		w, r, first := full(t)
		w.must(w.tryDelete(r, first.Digest))
		small := w.pushImage(r, "v2", "config", "small")
		w.must(w.tryDelete(r, small.Digest))
		w.must(w.undelete(r, first.Digest))
		w.must(w.undelete(r, small.Digest))
		_, err := w.tryPush(r, large("b", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.consistent()
	})
	t.Run("W10 a tenant at its quota can delete, restore, purge and push again", func(t *testing.T) {
		w, r, first := full(t)
		for _, name := range []string{"b", "c"} {
			w.must(w.tryDelete(r, first.Digest))
			w.must(w.undelete(r, first.Digest))
			_, err := w.tryPush(r, large(name, layer))
			w.refused(err, fault.Denied, fault.QuotaExceeded)
			w.purgeDigest(first.Digest)
			w.ended(first.Digest)
			first = w.pushImage(r, "v1", "config", large(name, layer))
			w.consistent()
		}
		w.must(w.tryDelete(r, first.Digest))
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.must(w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, By: cause()}))
		w.must(w.undelete(r, first.Digest))
		w.complete(r, first.Digest, "config", large("c", layer))
		w.consistent()
	})
	t.Run("W10 a restore has to fit into the quota", func(t *testing.T) {
		w, r, first := full(t)
		w.must(w.tryDelete(r, first.Digest))
		w.limit("small", layer)
		w.refused(w.undelete(r, first.Digest), fault.Denied, fault.QuotaExceeded)
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: first.Digest})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.limit("small", 2*layer)
		w.must(w.undelete(r, first.Digest))
		w.consistent()
	})
	t.Run("W17 many pushes at once have room made, and later ones find it", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", 20*layer)
		r := w.repo("app")
		for i := range 12 {
			m := w.pushImage(r, "old", large(fmt.Sprint("old", i), layer))
			w.must(w.tryDelete(r, m.Digest))
			w.Advance(time.Second)
		}
		together(times(8, func(i int) {
			_, err := w.tryPush(r, large(fmt.Sprint("new", i), layer))
			w.fine(err)
		})...)
		fits := func(n int) { // 20 layers, of which n are live and one is for the rows
			t.Helper()
			if left := len(w.trash(r)); left > 19-n || left < 18-n {
				t.Errorf("%d can be restored beside %d new ones", left, n)
			}
		}
		fits(8)
		for i := range 6 {
			_, err := w.tryPush(r, large(fmt.Sprint("more", i), layer))
			w.must(err)
			fits(9 + i)
		}
		m := w.put(r, w.image(nil, meta.Blob{Digest: digestOf(large("new0", layer)), Size: int64(len(large("new0", layer)))}), "again")
		w.must(w.tryDelete(r, m.Digest))
		_, err := w.tryPush(r, large("last", layer))
		w.must(err)
		fits(14)
		w.consistent()
	})
	t.Run("W10 the oldest trash gives way first", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", 10*layer)
		r := w.repo("app")
		var images []meta.Manifest
		for i := range 6 {
			images = append(images, w.pushImage(r, fmt.Sprintf("v%d", i), large(fmt.Sprint(i), layer)))
			w.must(w.tryDelete(r, images[i].Digest))
			w.Advance(time.Minute)
		}
		w.pushImage(r, "new", large("n", 6*layer))
		left := w.trash(r)
		if len(left) == 0 || len(left) > 3 {
			t.Fatalf("%d of 6 are left", len(left))
		}
		for i, m := range images {
			if i >= 6-len(left) {
				w.must(w.undelete(r, m.Digest))
			} else {
				w.refused(w.undelete(r, m.Digest), fault.NotFound, fault.ManifestUnknown)
			}
		}
		w.consistent()
	})
}
