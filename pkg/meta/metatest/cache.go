package metatest

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// keep is how long what tests fetch is kept.
const keep = 10 * 24 * time.Hour

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
		w.refused(w.Store.DeleteManifest(t.Context(), cause(), r, image.Manifest.Digest, false), fault.NotFound, fault.NameUnknown)
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

// newCache is a world with an upstream ghcr, and a repository of its cache.
func newCache(t *testing.T, open Open) (world, meta.Repo) {
	t.Helper()
	w := newWorld(t, open)
	u := w.addUpstream("ghcr", meta.UpstreamSettings{Keep: keep})
	return w, meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "library/app"}
}

// described is a blob that nobody has, for a manifest to name.
func described(content string) meta.Blob {
	return meta.Blob{Digest: digestOf(content), Size: int64(len(content))}
}

// fetched stores a manifest that the upstream gave.
func (w world) fetched(r meta.Repo, p meta.ManifestPut, tags ...string) {
	w.t.Helper()
	w.must(w.tryFetched(r, p, tags...))
}

func (w world) tryFetched(r meta.Repo, p meta.ManifestPut, tags ...string) error {
	return w.Store.PutCached(w.t.Context(), meta.CachedPut{
		Repo: r, Manifest: p.Manifest, Parsed: p.Parsed, Tag: strings.Join(tags, ""), Keep: keep,
	})
}

// fill stores a blob that the upstream gave.
func (w world) fill(r meta.Repo, content string) meta.Blob {
	w.t.Helper()
	b, err := w.tryFill(r, content)
	w.must(err)
	return b
}

func (w world) tryFill(r meta.Repo, content string) (meta.Blob, error) {
	u, err := w.tryStage(r, content)
	if err != nil {
		return meta.Blob{}, err
	}
	if u, err = w.Store.SealUpload(w.t.Context(), u, digestOf(content)); err != nil {
		return meta.Blob{}, err
	}
	return w.Store.CommitUpload(w.t.Context(), meta.Cause{}, u, false)
}

func (w world) findCached(r meta.Repo, ref oci.Reference) (meta.Manifest, error) {
	if ref.Tag == "" {
		return w.Store.FindManifest(w.t.Context(), r, ref)
	}
	found, err := w.Store.FindCachedTag(w.t.Context(), r, ref.Tag)
	return found.Manifest, err
}

// nothingCached fails the test if any of this is found in r.
func (w world) nothingCached(r meta.Repo, d oci.Digest, tag, content string) {
	w.t.Helper()
	_, byTag := w.Store.FindCachedTag(w.t.Context(), r, tag)
	_, byDigest := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: d})
	_, naming := w.Store.FindNaming(w.t.Context(), r, digestOf(content))
	_, blob := w.Store.FindBlob(w.t.Context(), r, digestOf(content))
	for what, err := range map[string]error{"tag": byTag, "digest": byDigest, "naming": naming, "blob": blob} {
		if fault.KindOf(err) != fault.NotFound {
			w.t.Errorf("%s in %+v: %v", what, r, err)
		}
	}
}

// cacheClosed fails the test unless every way to write into r is closed. u is an
// open session there.
func (w world) cacheClosed(r meta.Repo, u meta.Upload, image meta.ManifestPut) {
	w.t.Helper()
	fresh := r
	fresh.Name = "fresh"
	for _, r := range []meta.Repo{r, fresh} {
		w.refused(w.tryFetched(r, image, "v1"), fault.NotFound, fault.NameUnknown)
		_, err := w.Store.LinkBlob(w.t.Context(), r, digestOf("config"))
		w.refused(err, fault.NotFound, fault.NameUnknown)
		_, err = w.Store.CreateUpload(w.t.Context(), r, oci.SHA256)
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.refused(w.Store.ConfirmCachedTag(w.t.Context(), r, "v1", image.Manifest.Digest), fault.NotFound, fault.NameUnknown)
		w.must(w.Store.DropCachedTag(w.t.Context(), r, "v1"))
		w.must(w.Store.RecordPulls(w.t.Context(), []meta.CachedPull{{Repo: r, Digest: image.Manifest.Digest, Keep: keep}}))
	}
	_, err := w.Store.TakeUpload(w.t.Context(), r, u.ID, -1)
	w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
	_, err = w.Store.SealUpload(w.t.Context(), u, digestOf("unfinished"))
	w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
}

func (w world) claimed(want bool, name string, registries ...tenant.RegistryID) {
	w.t.Helper()
	if got, err := w.Store.ClaimedBy(w.t.Context(), w.tenant, registries, name); err != nil || got != want {
		w.t.Errorf("%q is claimed by one of %v: %t, %v", name, registries, got, err)
	}
}
