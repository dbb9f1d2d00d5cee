package metatest

import (
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testPurge(t *testing.T, open Open) {
	// fill pushes more than one batch of everything.
	fill := func(w world, r meta.Repo) {
		w.stage(r, "unfinished")
		config := w.push(r, "config of all")
		for _, content := range numbered("layer %d", 12) {
			m := w.put(r, w.image(nil, config, w.push(r, content)), digestOf(content).Hex()[:9])
			w.put(r, w.index(m))
		}
	}
	t.Run("removes a repository and leaves the others", func(t *testing.T) {
		w := newWorld(t, open)
		fill(w, w.repo("gone"))
		kept := w.pushImage(w.repo("kept"), "v1", "config of all", "layer 1")
		w.must(w.Store.DeleteRepository(t.Context(), cause(), w.repo("gone")))
		w.collectAll()
		if len(w.objects()) != 2 || w.used("acme") != int64(len("config of all")+len("layer 1")) {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		if got := w.tagged(w.repo("kept"), "v1"); got != kept.Digest {
			t.Errorf("kept is %s", got)
		}
		w.consistent()
	})
	t.Run("removes a registry and leaves the others", func(t *testing.T) {
		w := newWorld(t, open)
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.must(err)
		gone := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		fill(w, gone)
		u := w.stage(gone, "unfinished too")
		w.pushImage(w.repo("app"), "v1", "config of all")
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		w.noPushes(gone, u)
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		w.collectAll()
		if len(w.objects()) != 1 || w.used("acme") != int64(len("config of all")) {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		again, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		if err != nil || again.ID == dev.ID {
			t.Errorf("made again: %+v, %v", again, err)
		}
		w.consistent()
	})
	t.Run("removes a tenant and leaves the others", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		fill(other, other.repo("app"))
		u := other.stage(other.repo("app"), "unfinished too")
		fill(w, w.repo("app"))
		before := w.used("acme")
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "other", 0, true))
		w.noPushes(other.repo("app"), u)
		w.collectAll()
		for k := range w.objects() {
			if k.Tenant == int64(other.tenant) {
				t.Errorf("object %s is left", k)
			}
		}
		if w.used("acme") != before {
			t.Errorf("the other tenant is charged %d, not %d", w.used("acme"), before)
		}
		_, err := w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "other"}, tenant.Settings{})
		w.refused(err, fault.Conflict, fault.NameQuarantined)
		w.consistent()
	})
}

// noPushes fails the test unless every way to write into r is closed. u is an
// open session there.
func (w world) noPushes(r meta.Repo, u meta.Upload) {
	w.t.Helper()
	_, err := w.Store.CreateUpload(w.t.Context(), r, oci.SHA256)
	w.refused(err, fault.NotFound, fault.NameUnknown)
	fresh := r
	fresh.Name = "fresh"
	_, err = w.Store.CreateUpload(w.t.Context(), fresh, oci.SHA256)
	w.refused(err, fault.NotFound, fault.NameUnknown)
	_, err = w.Store.TakeUpload(w.t.Context(), r, u.ID, -1)
	w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
	_, err = w.Store.SealUpload(w.t.Context(), u, digestOf("unfinished too"))
	w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
	w.refused(w.tryPut(r, w.index(), "v1"), fault.NotFound, fault.NameUnknown)
	_, err = w.Store.MountBlob(w.t.Context(), cause(), r, fresh, digestOf("config of all"))
	w.refused(err, fault.NotFound, fault.NameUnknown)
}
