package metatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// rotate gives the upstream ghcr another password, and returns where its repository is then.
func (w world) rotate(r meta.Repo) meta.Repo {
	w.t.Helper()
	u, err := w.Store.FindUpstream(w.t.Context(), r.Tenant, "ghcr")
	w.must(err)
	u.Settings.Password = append(u.Settings.Password, 'x')
	after, err := w.Store.RotateUpstream(w.t.Context(), cause(), u)
	w.must(err)
	if after.Cache == u.Cache || !after.Unproved || string(after.Settings.Password) != string(u.Settings.Password) {
		w.t.Errorf("rotated to %+v", after)
	}
	top, err := w.Store.FindTopology(w.t.Context(), r.Tenant)
	if err != nil || top.Upstreams["ghcr"].Cache != after.Cache || !top.Upstreams["ghcr"].Unproved {
		w.t.Errorf("topology %+v, %v", top, err)
	}
	r.Registry = after.Cache
	return r
}

// proved proves the name and fails the test unless that is cached, with the blob.
func (w world) proved(r meta.Repo, m meta.ManifestPut, tag, content string) {
	w.t.Helper()
	w.must(w.Store.ProveCached(w.t.Context(), r))
	for _, ref := range []oci.Reference{{Tag: tag}, {Digest: m.Manifest.Digest}} {
		if got, err := w.findCached(r, ref); err != nil || got.Digest != m.Manifest.Digest {
			w.t.Errorf("%s in %+v: %+v, %v", ref, r, got, err)
		}
	}
	if _, err := w.Store.FindBlob(w.t.Context(), r, digestOf(content)); err != nil {
		w.t.Errorf("%s in %+v: %v", content, r, err)
	}
}

// newRotated is newCache with an image, before another password and after it.
func newRotated(t *testing.T, open Open) (world, meta.Repo, meta.Repo, meta.ManifestPut) {
	t.Helper()
	w, before := newCache(t, open)
	image := w.image(nil, described("config"))
	w.fetched(before, image, "v1")
	w.fill(before, "config")
	return w, before, w.rotate(before), image
}

func testCacheProof(t *testing.T, open Open) {
	t.Run("T59 keeps each name for its proof, and closes the former cache", func(t *testing.T) {
		w, before := newCache(t, open)
		image := w.image(nil, described("config"))
		other := before
		other.Name = "library/other"
		for _, r := range []meta.Repo{before, other} {
			w.fetched(r, image, "v1")
			w.fill(r, "config")
		}
		session := w.stage(before, "unfinished")
		after := w.rotate(before)
		otherAfter := after
		otherAfter.Name = other.Name
		for _, r := range []meta.Repo{after, otherAfter} {
			w.nothingCached(r, image.Manifest.Digest, "v1", "config")
		}
		w.cacheClosed(before, session, image)
		w.must(w.Store.ProveCached(t.Context(), before)) // it takes over nothing
		w.consistent()
		w.collect()
		charged := w.used("acme")

		w.proved(after, image, "v1", "config")
		w.proved(after, image, "v1", "config") // again
		w.nothingCached(otherAfter, image.Manifest.Digest, "v1", "config")
		w.proved(otherAfter, image, "v1", "config")
		w.must(w.Store.ProveCached(t.Context(), meta.Repo{Tenant: w.tenant, Registry: after.Registry, Name: "none"}))
		if n := w.used("acme"); n != charged {
			t.Errorf("charged %d, and %d before", n, charged)
		}
		w.fetched(after, image, "v2")
		w.fill(after, "unfinished")
		w.consistent()
	})
	t.Run("T59 keeps what several passwords left", func(t *testing.T) {
		w, before, second, image := newRotated(t, open)
		w.fetched(meta.Repo{Tenant: w.tenant, Registry: second.Registry, Name: "library/new"}, image, "v1")
		third := w.rotate(second)
		w.must(w.Store.ProveCached(t.Context(), before))
		w.must(w.Store.ProveCached(t.Context(), second))
		w.nothingCached(third, image.Manifest.Digest, "v1", "config")
		w.proved(third, image, "v1", "config")
		third.Name = "library/new"
		w.must(w.Store.ProveCached(t.Context(), third))
		if _, err := w.Store.FindCachedTag(t.Context(), third, "v1"); err != nil {
			t.Error(err)
		}
		w.consistent()
	})
	t.Run("T59 forgets the oldest of many passwords", func(t *testing.T) {
		w, _, at, image := newRotated(t, open)
		for range meta.MaxUnproved - 1 {
			at = w.rotate(at)
		}
		u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		if err != nil || u.Cache != at.Registry {
			t.Fatal(u, err)
		}
		last := w.rotate(at)
		w.collect()
		w.must(w.Store.ProveCached(t.Context(), last))
		w.nothingCached(last, image.Manifest.Digest, "v1", "config")
		w.consistent()
	})
	t.Run("T59 does not replace what was fetched since", func(t *testing.T) {
		w, _, after, old := newRotated(t, open)
		image := w.image(nil, described("new"))
		w.fetched(after, image, "v1")
		w.must(w.Store.ProveCached(t.Context(), after))
		if got, err := w.findCached(after, oci.Reference{Tag: "v1"}); err != nil || got.Digest != image.Manifest.Digest {
			t.Errorf("%+v, %v", got, err)
		}
		_, err := w.Store.FindManifest(t.Context(), after, oci.Reference{Digest: old.Manifest.Digest})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.consistent()
	})
	t.Run("T59 ends in time, or with a change of the account", func(t *testing.T) {
		for name, end := range map[string]func(world){
			"in time": func(w world) { w.Advance(meta.KeepUnproved + time.Second) },
			"another account": func(w world) {
				u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
				w.must(err)
				_, err = w.Store.UpdateUpstream(t.Context(), cause(), u, true)
				w.must(err)
			},
			"deleted": func(w world) { w.must(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0)) },
		} {
			w, _, after, image := newRotated(t, open)
			w.collect()
			if len(w.objects()) == 0 {
				t.Fatalf("%s: it was not kept", name)
			}
			end(w)
			if u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr"); err == nil {
				after.Registry = u.Cache
				if u.Unproved {
					t.Errorf("%s: %+v", name, u)
				}
			}
			w.must(w.Store.ProveCached(t.Context(), after))
			w.nothingCached(after, image.Manifest.Digest, "v1", "config")
			w.collectAll()
			if n := len(w.objects()); n != 0 || w.used("acme") != 0 {
				t.Errorf("%s: %d objects, charged %d", name, n, w.used("acme"))
			}
			w.consistent()
		}
	})
	t.Run("T59 is of one upstream and tenant", func(t *testing.T) {
		w, _, _, image := newRotated(t, open)
		second := w.addUpstream("quay", meta.UpstreamSettings{Keep: keep})
		other, _ := w.addTenant("other", 0)
		theirs := w.addUpstreamOf(other, "ghcr", meta.UpstreamSettings{Keep: keep})
		for _, r := range []meta.Repo{
			{Tenant: w.tenant, Registry: second.Cache, Name: "library/app"},
			{Tenant: other, Registry: theirs.Cache, Name: "library/app"},
			w.rotate(meta.Repo{Tenant: other, Registry: theirs.Cache, Name: "library/app"}),
			w.repo("library/app"),
		} {
			w.must(w.Store.ProveCached(t.Context(), r))
			w.nothingCached(r, image.Manifest.Digest, "v1", "config")
		}
		w.consistent()
	})
	t.Run("T59 is purged by name", func(t *testing.T) {
		w, _, after, image := newRotated(t, open)
		u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		for i, want := range []bool{true, false} {
			if gone, err := w.Store.PurgeUnproved(t.Context(), cause(), u, after.Name); err != nil || gone != want {
				t.Errorf("%d: %t, %v", i, gone, err)
			}
		}
		w.told("cache.purge upstreams/ghcr/repositories/library/app", "upstream.update upstreams/ghcr")
		w.must(w.Store.ProveCached(t.Context(), after))
		w.nothingCached(after, image.Manifest.Digest, "v1", "config")
		w.consistent()
	})
	t.Run("T59 counts and is evicted", func(t *testing.T) {
		w, r := newCache(t, open)
		u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		u.Settings.MaxBytes = 1500
		_, err = w.Store.UpdateUpstream(t.Context(), cause(), u, false)
		w.must(err)
		old := w.cachedImage(r, kilobyte("old"))
		after := w.rotate(r)
		kept := w.cacheSize().Cached
		if kept < 1000 {
			t.Errorf("%d bytes count", kept)
		}
		fresh := after
		fresh.Name = "library/fresh"
		second := w.cachedImage(fresh, kilobyte("new"))
		n, err := w.Store.EvictCached(t.Context(), 10) // of max_bytes
		if err != nil || n != 1 {
			t.Errorf("evicted %d, %v", n, err)
		}
		w.Advance(time.Second)
		w.settle()
		w.must(w.Store.ProveCached(t.Context(), after))
		w.nothingCached(after, old.Manifest.Digest, "v1", kilobyte("old"))
		if _, err := w.Store.FindManifest(t.Context(), fresh, oci.Reference{Digest: second.Manifest.Digest}); err != nil {
			t.Error(err)
		}
		w.consistent()
		w.rotate(after)
		w.trim(0) // for the room of all caches
		if size := w.cacheSize(); size.Cached > 4*2048 {
			t.Errorf("%+v are left", size)
		}
	})
	t.Run("T59 is proved once, whatever happens at the same time", func(t *testing.T) {
		for i := range 10 {
			w, _, after, image := newRotated(t, open)
			done := make(chan error)
			steps := []func() error{
				func() error { return w.Store.ProveCached(t.Context(), after) },
				func() error { return w.Store.ProveCached(t.Context(), after) },
				func() error { return w.tryFetched(after, image, "v1") },
			}
			if i%2 == 1 {
				u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
				w.must(err)
				steps = append(steps, func() error {
					_, err := w.Store.UpdateUpstream(t.Context(), cause(), u, true)
					return err
				})
			}
			for _, step := range steps {
				go func() { done <- step() }()
			}
			for range steps {
				if err := <-done; err != nil && !(i%2 == 1 && fault.Is(err, fault.NameUnknown)) {
					t.Error(fmt.Sprint(i), err)
				}
			}
			w.consistent()
			if i%2 == 0 {
				if _, err := w.Store.FindCachedTag(t.Context(), after, "v1"); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
