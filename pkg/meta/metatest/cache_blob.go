package metatest

import (
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCachedBlobs(t *testing.T, open Open) {
	t.Run("are charged like pushed ones, once", func(t *testing.T) {
		w, r := newCache(t, open)
		w.fill(r, "12345")
		other := r
		other.Name = "another"
		w.fill(other, "12345")
		w.push(w.repo("app"), "12345")
		if got := w.used("acme"); got != 5 {
			t.Errorf("charged %d", got)
		}
		w.consistent()
	})
	t.Run("over the quota are refused, and leave nothing", func(t *testing.T) {
		w, _ := newCache(t, open)
		w.tenant, w.registry = w.addTenant("small", room(8, 1, 2))
		u := w.addUpstream("ghcr", meta.UpstreamSettings{})
		r := meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "app"}
		w.fill(r, "12345")
		_, err := w.tryFill(r, "67890")
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("67890"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		if got := w.used("small"); got != 5 {
			t.Errorf("charged %d", got)
		}
		w.consistent()
	})
	t.Run("are linked from anywhere in the tenant, without a charge", func(t *testing.T) {
		w, r := newCache(t, open)
		w.tenant, w.registry = w.addTenant("small", 1<<20)
		u := w.addUpstream("ghcr", meta.UpstreamSettings{})
		r.Tenant, r.Registry = w.tenant, u.Cache
		pushed := w.push(w.repo("app"), "12345")
		linked, err := w.Store.LinkBlob(t.Context(), r, pushed.Digest)
		if err != nil || linked != pushed {
			t.Errorf("linked %+v, %v; want %+v", linked, err, pushed)
		}
		again, err := w.Store.LinkBlob(t.Context(), r, pushed.Digest)
		if err != nil || again != pushed || w.used("small") != 5 {
			t.Errorf("linked again %+v, %v, charged %d", again, err, w.used("small"))
		}
		w.fetched(r, w.image(nil, pushed), "v1")
		w.must(w.Store.DeleteBlob(t.Context(), cause(), w.repo("app"), pushed.Digest))
		w.Advance(2 * meta.DefaultLifetimes.Grace)
		w.collect()
		found, err := w.Store.FindBlob(t.Context(), r, pushed.Digest)
		if err != nil || found != pushed {
			t.Errorf("found %+v, %v: a cached manifest names it", found, err)
		}
		w.consistent()
	})
	t.Run("S70 are taken for sent only where the same upstream sent them", func(t *testing.T) {
		w, r := newCache(t, open)
		second := meta.Repo{Tenant: w.tenant, Registry: r.Registry, Name: "second"}
		foreign := meta.Repo{Tenant: w.tenant, Registry: w.addUpstream("quay", meta.UpstreamSettings{Keep: keep}).Cache, Name: r.Name}
		sent := func(want bool, in meta.Repo) {
			t.Helper()
			if got, err := w.Store.WasSent(t.Context(), in, digestOf("12345")); err != nil || got != want {
				t.Errorf("sent to %+v: %t, %v", in, got, err)
			}
			_, err := w.Store.LinkSent(t.Context(), in, digestOf("12345"))
			if want {
				w.must(err)
			} else {
				w.refused(err, fault.NotFound, fault.BlobUnknown)
			}
		}
		w.push(w.repo("app"), "12345")
		sent(false, r)
		w.fill(foreign, "12345")
		sent(false, r)
		sent(false, second)
		b := w.fill(r, "12345")
		sent(true, second)
		w.must(w.Store.MarkSuspect(t.Context(), b))
		_, err := w.Store.LinkSent(t.Context(), meta.Repo{Tenant: w.tenant, Registry: r.Registry, Name: "third"}, b.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		w.consistent()
	})
	t.Run("are not linked where the tenant has none", func(t *testing.T) {
		w, r := newCache(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		other.push(other.repo("app"), "12345")
		_, err := w.Store.LinkBlob(t.Context(), r, digestOf("12345"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: digestOf("x")})
		w.refused(err, fault.NotFound, fault.NameUnknown) // nothing is left behind
	})
	t.Run("that are suspect are not linked, and healed by a fetch", func(t *testing.T) {
		w, r := newCache(t, open)
		lost := w.push(w.repo("app"), "12345")
		w.must(w.Store.MarkSuspect(t.Context(), lost))
		_, err := w.Store.LinkBlob(t.Context(), r, lost.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		healed := w.fill(r, "12345")
		if healed.Key == lost.Key {
			t.Error("the suspect object is used again")
		}
		other := r
		other.Name = "another"
		linked, err := w.Store.LinkBlob(t.Context(), other, lost.Digest)
		if err != nil || linked != healed || w.used("acme") != 5 {
			t.Errorf("linked %+v, %v; want %+v, charged %d", linked, err, healed, w.used("acme"))
		}
		w.consistent()
	})
	t.Run("that no manifest names go after their grace", func(t *testing.T) {
		w, r := newCache(t, open)
		w.fill(r, "12345")
		w.Advance(meta.DefaultLifetimes.Grace)
		w.collect()
		_, err := w.Store.FindBlob(t.Context(), r, digestOf("12345"))
		w.must(err)
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
}
