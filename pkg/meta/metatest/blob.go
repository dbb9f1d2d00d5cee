package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func testBlobs(t *testing.T, open Open) {
	t.Run("C1 exist only where they are linked", func(t *testing.T) {
		w := newWorld(t, open)
		b := w.push(w.repo("app"), "12345")
		w.push(w.repo("other"), "x")
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		other.push(other.repo("app"), "x")
		for _, r := range []meta.Repo{
			w.repo("other"), w.repo("none"), other.repo("app"),
			{Tenant: other.tenant, Registry: w.registry, Name: "app"},
			{Tenant: w.tenant, Registry: other.registry, Name: "app"},
		} {
			_, err := w.Store.FindBlob(t.Context(), r, b.Digest)
			w.refused(err, fault.NotFound, fault.BlobUnknown)
			_, err = w.Store.CheckBlob(t.Context(), r, b.Digest)
			w.refused(err, fault.NotFound, fault.BlobUnknown)
			err = w.Store.DeleteBlob(t.Context(), cause(), r, b.Digest)
			w.refused(err, fault.NotFound, fault.BlobUnknown)
		}
		sources, err := w.Store.FindSources(t.Context(), other.tenant, b.Digest, 10)
		if err != nil || len(sources) != 0 {
			t.Errorf("another tenant's sources: %v, %v", sources, err)
		}
	})
	t.Run("are mounted from any repository of the tenant", func(t *testing.T) {
		w := newWorld(t, open)
		from, to := w.repo("from"), w.repo("new/repository")
		b := w.push(from, "12345")
		by := cause()
		for range 2 {
			mounted, err := w.Store.MountBlob(t.Context(), by, from, to, b.Digest)
			if err != nil || mounted != b {
				t.Errorf("mounted %+v, %v", mounted, err)
			}
		}
		found, err := w.Store.FindBlob(t.Context(), to, b.Digest)
		if err != nil || found != b {
			t.Errorf("found %+v, %v", found, err)
		}
		sources, err := w.Store.FindSources(t.Context(), w.tenant, b.Digest, 10)
		if err != nil || !slices.Equal(sources, []meta.Repo{from, to}) {
			t.Errorf("sources %v, %v", sources, err)
		}
		sources, err = w.Store.FindSources(t.Context(), w.tenant, b.Digest, 1)
		if err != nil || len(sources) != 1 {
			t.Errorf("one source: %v, %v", sources, err)
		}
		w.put(to, w.image(nil, b), "v1")
		if w.used("acme") != 5 {
			t.Errorf("charged %d", w.used("acme"))
		}
		w.consistent()
	})
	t.Run("C2 are not mounted from elsewhere", func(t *testing.T) {
		w := newWorld(t, open)
		b := w.push(w.repo("from"), "12345")
		w.push(w.repo("other"), "x")
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		for _, mount := range []struct{ from, to meta.Repo }{
			{w.repo("other"), w.repo("to")},
			{w.repo("none"), w.repo("to")},
			{w.repo("from"), other.repo("to")},
			{other.repo("from"), other.repo("to")},
		} {
			_, err := w.Store.MountBlob(t.Context(), cause(), mount.from, mount.to, b.Digest)
			w.refused(err, fault.NotFound, fault.BlobUnknown)
			// A refused mount leaves nothing behind.
			_, err = w.Store.ListTags(t.Context(), mount.to, meta.Page{Size: 1})
			w.refused(err, fault.NotFound, fault.NameUnknown)
		}
	})
	t.Run("are deleted unless a manifest names them", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		named, free := w.push(r, "named"), w.push(r, "free")
		m := w.put(r, w.image(nil, named), "v1")
		w.refused(w.Store.DeleteBlob(t.Context(), cause(), r, named.Digest), fault.Unsupported, fault.UnsupportedReason)
		by := cause()
		w.must(w.Store.DeleteBlob(t.Context(), by, r, free.Digest))
		w.must(w.Store.DeleteBlob(t.Context(), by, r, free.Digest)) // the same request again
		w.refused(w.Store.DeleteBlob(t.Context(), cause(), r, free.Digest), fault.NotFound, fault.BlobUnknown)
		_, err := w.Store.FindBlob(t.Context(), r, free.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		w.must(w.tryDelete(r, m.Digest))
		w.must(w.Store.DeleteBlob(t.Context(), cause(), r, named.Digest))
		w.consistent()
	})
	t.Run("a HEAD with push rights prolongs, one without does not", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		checked, looked := w.push(r, "checked"), w.push(r, "looked at")
		w.Advance(meta.DefaultLifetimes.Grace - time.Hour)
		_, err := w.Store.CheckBlob(t.Context(), r, checked.Digest)
		w.must(err)
		_, err = w.Store.FindBlob(t.Context(), r, looked.Digest)
		w.must(err)
		w.Advance(meta.DefaultLifetimes.HeadGrace - time.Second)
		w.collect()
		w.put(r, w.image(nil, checked), "v1")
		w.refused(w.tryPut(r, w.image(nil, looked)), fault.NotFound, fault.ManifestBlobUnknown)
		w.consistent()
	})
	t.Run("R50 after a HEAD of a blob whose manifest was deleted, the PUT works", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		w.put(r, image, "v1")
		w.Advance(100 * time.Hour)
		w.collect() // now the blob carries no mark
		_, err := w.Store.CheckBlob(t.Context(), r, digestOf("config"))
		w.must(err)
		w.must(w.tryDelete(r, image.Manifest.Digest))
		w.Advance(time.Hour)
		w.collect()
		w.put(r, image, "v1")
		w.consistent()
	})
}
