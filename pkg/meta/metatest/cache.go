package metatest

import (
	"bytes"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCache(t *testing.T, open Open) {
	t.Run("gives back what was put, byte for byte", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"), described("layer"))
		w.fetched(r, image, "v1")
		for _, ref := range []oci.Reference{{Tag: "v1"}, {Digest: image.Manifest.Digest}} {
			got, err := w.findCached(r, ref)
			if err != nil || got.Digest != image.Manifest.Digest || got.MediaType != image.Manifest.MediaType || !bytes.Equal(got.Payload, image.Manifest.Payload) {
				t.Errorf("%s: %+v, %v", ref, got, err)
			}
		}
		_, err := w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown) // not there yet
		b := w.fill(r, "layer")
		found, err := w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		if err != nil || found != b {
			t.Errorf("found %+v, %v; want %+v", found, err, b)
		}
		_, err = w.Store.FindCachedTag(t.Context(), r, "v2")
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		r.Name = "none"
		_, err = w.Store.FindCachedTag(t.Context(), r, "v1")
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.consistent()
	})
	t.Run("E8 is reached through its own upstream and tenant", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		w.fetched(r, image, "v1")
		w.fill(r, "config")
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		second := w.addUpstream("quay", meta.UpstreamSettings{})
		theirs := other.addUpstream("ghcr", meta.UpstreamSettings{})
		for _, r := range []meta.Repo{
			w.repo(r.Name),
			{Tenant: w.tenant, Registry: second.Cache, Name: r.Name},
			{Tenant: other.tenant, Registry: theirs.Cache, Name: r.Name},
			{Tenant: other.tenant, Registry: r.Registry, Name: r.Name},
			{Tenant: w.tenant, Registry: theirs.Cache, Name: r.Name},
		} {
			w.nothingCached(r, image.Manifest.Digest, "v1", "config")
		}
		_, err := w.Store.LinkBlob(t.Context(), meta.Repo{Tenant: other.tenant, Registry: theirs.Cache, Name: r.Name}, digestOf("config"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
	})
	t.Run("E8 is given up at once when the upstream is renewed", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		w.fetched(r, image, "v1")
		b := w.fill(r, "config")
		session := w.stage(r, "unfinished")
		before, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		by := cause()
		after, err := w.Store.UpdateUpstream(t.Context(), by, before, true)
		w.must(err)
		if after.Cache == before.Cache || after.ID != before.ID {
			t.Errorf("renewed to %+v from %+v", after, before)
		}
		again, err := w.Store.UpdateUpstream(t.Context(), by, before, true) // the same request again
		w.must(err)
		w.sameUpstream(again, after)
		top, err := w.Store.FindTopology(t.Context(), w.tenant)
		if err != nil || top.Upstreams["ghcr"].Cache != after.Cache {
			t.Errorf("topology %+v, %v", top, err)
		}
		fresh := meta.Repo{Tenant: w.tenant, Registry: after.Cache, Name: r.Name}
		w.nothingCached(fresh, image.Manifest.Digest, "v1", "config")
		_, err = w.Store.FindCachedTag(t.Context(), r, "v1")
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		_, err = w.Store.FindNaming(t.Context(), r, digestOf("config"))
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.cacheClosed(r, session, image)
		w.consistent()

		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v; %s was given up", w.used("acme"), w.objects(), b.Digest)
		}
		w.nothingCached(r, image.Manifest.Digest, "v1", "config")
		w.fetched(fresh, image, "v1")
		w.consistent()
	})
	t.Run("is given up with its upstream", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		w.fetched(r, image, "v1")
		w.fill(r, "config")
		session := w.stage(r, "unfinished")
		w.must(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0))
		w.cacheClosed(r, session, image)
		w.consistent()
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("is no place for pushes, and hosted repositories are none for it", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		w.fetched(r, image, "v1")
		w.fill(r, "config")
		h := w.repo("app")
		hosted := w.pushImage(h, "v1", "hosted")
		w.refused(w.tryPut(r, image, "v1"), fault.NotFound, fault.NameUnknown)
		w.refused(w.tryDelete(r, image.Manifest.Digest), fault.NotFound, fault.NameUnknown)
		w.refused(w.Store.DeleteTag(t.Context(), cause(), r, "v1"), fault.NotFound, fault.NameUnknown)
		w.refused(w.Store.DeleteBlob(t.Context(), cause(), r, digestOf("config")), fault.NotFound, fault.BlobUnknown)
		w.refused(w.Store.DeleteRepository(t.Context(), cause(), r), fault.NotFound, fault.NameUnknown)
		_, err := w.Store.MountBlob(t.Context(), cause(), r, h, digestOf("config"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.MountBlob(t.Context(), cause(), h, r, digestOf("hosted"))
		w.refused(err, fault.NotFound, fault.NameUnknown)
		sources, err := w.Store.FindSources(t.Context(), w.tenant, digestOf("config"), 9)
		if err != nil || len(sources) != 0 {
			t.Errorf("sources %v, %v", sources, err)
		}
		for _, r := range []meta.Repo{h, w.repo("new")} {
			w.refused(w.tryFetched(r, image, "v2"), fault.NotFound, fault.NameUnknown)
			_, err = w.Store.LinkBlob(t.Context(), r, digestOf("config"))
			w.refused(err, fault.NotFound, fault.NameUnknown)
			w.refused(w.Store.ConfirmCachedTag(t.Context(), r, "v1", hosted.Digest), fault.NotFound, fault.NameUnknown)
			w.refused(w.Store.PurgeCached(t.Context(), cause(), r, oci.Reference{}), fault.NotFound, fault.NameUnknown)
			w.must(w.Store.DropCachedTag(t.Context(), r, "v1"))
			w.must(w.Store.RecordPulls(t.Context(), []meta.CachedPull{{Repo: r, Digest: hosted.Digest, Keep: keep}}))
		}
		_, err = w.Store.FindNaming(t.Context(), h, digestOf("hosted"))
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.sameTags(h, "v1")
		w.names([]string{"app"}, "", 9)
		w.consistent()
	})
	t.Run("writes no events and claims no names", func(t *testing.T) {
		w, r := newCache(t, open)
		before := len(w.events("", 100))
		w.fetched(r, w.image(nil, described("config")), "v1")
		w.fill(r, "config")
		w.fetched(r, w.image(nil, described("other")), "v1")
		w.must(w.Store.DropCachedTag(t.Context(), r, "v1"))
		if got := len(w.events("", 100)); got != before {
			t.Errorf("%d events, there were %d: %+v", got, before, w.events("", got-before))
		}
		w.claimed(false, r.Name, r.Registry)
	})
	t.Run("E9 knows the names that hosted registries have, or ever had", func(t *testing.T) {
		w, _ := newCache(t, open)
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.must(err)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		w.pushImage(w.repo("app"), "v1", "config")
		w.push(w.repo("only/blobs"), "config")
		w.claimed(true, "app", w.registry)
		w.claimed(true, "app", dev.ID, w.registry)
		w.claimed(false, "app", dev.ID)
		w.claimed(false, "app")
		w.claimed(false, "app/x", w.registry)
		w.claimed(false, "only/blobs", w.registry)
		other.claimed(false, "app", w.registry)
		w.must(w.Store.DeleteRepository(t.Context(), cause(), w.repo("app")))
		w.claimed(true, "app", w.registry)
		w.collectAll()
		w.claimed(true, "app", w.registry)
	})
	t.Run("finds what names a digest", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"), described("layer"))
		index := w.index(image.Manifest)
		w.fetched(r, index, "v1")
		naming := func(d oci.Digest, want oci.Digest) {
			t.Helper()
			m, err := w.Store.FindNaming(t.Context(), r, d)
			if err != nil || m.Digest != want || len(m.Payload) == 0 || m.MediaType == "" {
				t.Errorf("%s is named by %+v, %v; want %s", d, m, err, want)
			}
		}
		naming(image.Manifest.Digest, index.Manifest.Digest)
		_, err := w.Store.FindNaming(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.fetched(r, image)
		naming(digestOf("layer"), image.Manifest.Digest)
		naming(digestOf("config"), image.Manifest.Digest)
		_, err = w.Store.FindNaming(t.Context(), r, index.Manifest.Digest)
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		r.Name = "none"
		_, err = w.Store.FindNaming(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
	})
	t.Run("lists the repositories that hold a manifest", func(t *testing.T) {
		w, r := newCache(t, open)
		other := r
		other.Name = "another"
		w.fetched(r, w.image(nil, described("config")), "v1")
		w.fetched(other, w.image(nil, described("config")))
		w.stage(meta.Repo{Tenant: w.tenant, Registry: r.Registry, Name: "empty"}, "unfinished")
		inCache := w
		inCache.registry = r.Registry
		inCache.names([]string{"another", "library/app"}, "", 9)
		w.names(nil, "", 9)
		w.Advance(keep + time.Second)
		w.collect()
		inCache.names(nil, "", 9)
	})
	t.Run("keeps the media type that a manifest has", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		w.fetched(r, image, "v1")
		changed := image
		changed.Manifest.MediaType = oci.MediaTypeDocker
		w.fetched(r, changed, "v2")
		for _, tag := range []string{"v1", "v2"} {
			got, err := w.Store.FindCachedTag(t.Context(), r, tag)
			if err != nil || got.Manifest.MediaType != oci.MediaTypeImageManifest {
				t.Errorf("%s: %+v, %v", tag, got.Manifest, err)
			}
		}
	})
	t.Run("has referrers", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("config"))
		signature := w.image(&oci.Descriptor{MediaType: image.Manifest.MediaType, Digest: image.Manifest.Digest, Size: 1}, described("signature"))
		w.fetched(r, signature)
		found, err := w.Store.ListReferrers(t.Context(), r, image.Manifest.Digest, "", meta.Page{Size: 9})
		if err != nil || len(found) != 1 || found[0].Digest != signature.Manifest.Digest {
			t.Errorf("referrers %+v, %v", found, err)
		}
	})
}
