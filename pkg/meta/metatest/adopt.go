package metatest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// adopter is a world with the registries dev, which adopts, and prod, and with an
// upstream.
type adopter struct {
	world
	slug             string // of the tenant
	dev, prod, cache meta.Repo
}

func newAdopter(t *testing.T, open Open) adopter {
	t.Helper()
	return newWorld(t, open).adopter("acme")
}

// adopter is for the tenant of the world, which has that slug.
func (w world) adopter(slug string) adopter {
	w.t.Helper()
	a := adopter{world: w, slug: slug, dev: w.in("dev"), prod: w.in("prod")}
	u := w.addUpstream("ghcr", meta.UpstreamSettings{Keep: keep, NamePrefix: "library/"})
	a.cache = meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "library/app"}
	return a
}

// in makes a registry and names the repository app of it.
func (w world) in(slug string) meta.Repo {
	w.t.Helper()
	_, err := w.Store.CreateRegistry(w.t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: slug, Settings: tenant.Settings{}})
	w.must(err)
	found, err := w.Store.FindRegistry(w.t.Context(), w.tenant, slug)
	w.must(err)
	return meta.Repo{Tenant: w.tenant, Registry: found.ID, Name: "app"}
}

func (a adopter) from() []meta.Repo { return []meta.Repo{a.prod, a.cache} }

func digestsOf(contents ...string) []oci.Digest {
	out := make([]oci.Digest, len(contents))
	for i, c := range contents {
		out[i] = digestOf(c)
	}
	return out
}

// adopts fails the test unless dev adopts these contents except for the missing ones.
func (a adopter) adopts(contents, missing []string) {
	a.t.Helper()
	got, err := a.Store.AdoptBlobs(a.t.Context(), cause(), a.from(), a.dev, digestsOf(contents...))
	a.must(err)
	want := digestsOf(missing...)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		a.t.Errorf("of %q, %v are missing, want %q", contents, got, missing)
	}
	for _, c := range contents {
		if !slices.Contains(missing, c) {
			a.holds(a.dev, c)
		}
	}
}

func (w world) holds(r meta.Repo, contents ...string) {
	w.t.Helper()
	for _, c := range contents {
		if _, err := w.Store.FindBlob(w.t.Context(), r, digestOf(c)); err != nil {
			w.t.Errorf("%s: %v", c, err)
		}
	}
}

// putProvisional stores a manifest for the sake of another one.
func (w world) putProvisional(r meta.Repo, p meta.ManifestPut) {
	w.t.Helper()
	p.Provisional = true
	w.must(w.tryPut(r, p))
}

func testAdoption(t *testing.T, open Open) {
	t.Run("G10 links what is hosted and what is cached, as mounts do", func(t *testing.T) {
		a := newAdopter(t, open)
		a.push(a.prod, "hosted")
		a.fetched(a.cache, a.image(nil, described("cached")), "v1")
		a.fill(a.cache, "cached")
		a.push(a.repo("elsewhere"), "elsewhere")
		before := a.used("acme")
		a.adopts([]string{"hosted", "nowhere", "cached", "elsewhere"}, []string{"nowhere", "elsewhere"})
		if got := a.used("acme"); got != before {
			t.Errorf("charged %d, and %d before", got, before)
		}
		var targets []string
		events, err := a.Store.ListEvents(t.Context(), a.tenant, meta.Page{Size: 100})
		a.must(err)
		for _, e := range events {
			if e.Verb == "blob.mount" {
				targets = append(targets, e.Target)
			}
		}
		want := []string{"registries/dev/repositories/app@" + digestOf("hosted").String(), "registries/dev/repositories/app@" + digestOf("cached").String()}
		slices.Sort(targets)
		slices.Sort(want)
		if !slices.Equal(targets, want) {
			t.Errorf("events of %q, want %q", targets, want)
		}
		a.consistent()
		// The links expire if no manifest comes, and only they.
		a.Advance(meta.DefaultLifetimes.Grace - time.Second)
		a.collect()
		a.holds(a.dev, "hosted", "cached")
		a.Advance(2 * time.Second)
		a.settle()
		for _, c := range []string{"hosted", "cached"} {
			_, err := a.Store.FindBlob(t.Context(), a.dev, digestOf(c))
			a.refused(err, fault.NotFound, fault.BlobUnknown)
		}
		a.holds(a.cache, "cached")
		a.consistent()
	})
	t.Run("a repeated attempt takes effect once", func(t *testing.T) {
		a := newAdopter(t, open)
		a.push(a.prod, "hosted")
		by := cause()
		for range 2 {
			// SQLite answers the second time as it did the first, and links nothing.
			if _, err := a.Store.AdoptBlobs(t.Context(), by, a.from(), a.dev, digestsOf("hosted")); err != nil {
				t.Error(err)
			}
		}
		events, err := a.Store.ListEvents(t.Context(), a.tenant, meta.Page{Size: 100})
		a.must(err)
		mounts := slices.DeleteFunc(events, func(e meta.Event) bool { return e.Verb != "blob.mount" })
		if len(mounts) != 1 || mounts[0].Actor != by.Actor || mounts[0].RequestID != by.RequestID {
			t.Errorf("events %+v", mounts)
		}
	})
	t.Run("G10 at the limit of the quota", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", room(len("hosted"), 2, 1)+1)
		a := adopter{world: w, dev: w.in("dev"), prod: w.in("prod")}
		a.cache = a.prod
		a.push(a.prod, "hosted")
		a.adopts([]string{"hosted"}, nil)
		if got := a.used("small"); got != int64(len("hosted")) {
			t.Errorf("charged %d", got)
		}
	})
	t.Run("G12 takes nothing from where nothing is, or is any more", func(t *testing.T) {
		a := newAdopter(t, open)
		b := a.push(a.prod, "suspect")
		a.must(a.Store.MarkSuspect(t.Context(), b))
		a.push(a.prod, "deleted")
		a.adopts([]string{"suspect", "unknown"}, []string{"suspect", "unknown"})
		a.must(a.Store.DeleteRepository(t.Context(), cause(), a.prod))
		a.fetched(a.cache, a.image(nil, described("given up")))
		a.fill(a.cache, "given up")
		u, err := a.Store.FindUpstream(t.Context(), a.tenant, "ghcr")
		a.must(err)
		_, err = a.Store.UpdateUpstream(t.Context(), cause(), u, true)
		a.must(err)
		a.adopts([]string{"deleted", "given up"}, []string{"deleted", "given up"})
		_, err = a.Store.FindAdoptable(t.Context(), a.from(), a.image(nil, described("given up")).Manifest.Digest)
		a.refused(err, fault.NotFound, fault.ManifestUnknown)
		other := a.in("gone")
		a.push(other, "of a deleted registry")
		a.must(a.Store.DeleteRegistry(t.Context(), cause(), a.tenant, "gone", 0, true))
		a.prod = other
		a.adopts([]string{"of a deleted registry"}, []string{"of a deleted registry"})
		// Nothing came, so no repository did.
		a.refused(a.Store.DeleteRepository(t.Context(), cause(), a.dev), fault.NotFound, fault.NameUnknown)
		a.consistent()
	})
	t.Run("G12 refuses other tenants, caches as the target, and too many at once", func(t *testing.T) {
		a := newAdopter(t, open)
		a.push(a.prod, "hosted")
		other := a.world
		other.tenant, other.registry = a.addTenant("other", 0)
		_, err := a.Store.AdoptBlobs(t.Context(), cause(), a.from(), other.repo("app"), digestsOf("hosted"))
		a.refused(err, fault.Invalid, fault.RequestInvalid)
		_, err = a.Store.AdoptBlobs(t.Context(), cause(), a.from(), a.cache, digestsOf("hosted"))
		a.refused(err, fault.NotFound, fault.NameUnknown)
		_, err = a.Store.AdoptBlobs(t.Context(), cause(), a.from(), a.dev, digestsOf(numbered("%d", meta.MaxAdopted+1)...))
		a.refused(err, fault.Invalid, fault.RequestInvalid)
		if _, err = a.Store.AdoptBlobs(t.Context(), meta.Cause{}, a.from(), a.dev, digestsOf("hosted")); err == nil {
			t.Error("an adoption without an operation is taken")
		}
	})
	t.Run("G10 a link past its time that is still there", func(t *testing.T) {
		a := newAdopter(t, open)
		b := a.push(a.prod, "hosted")
		a.Advance(meta.DefaultLifetimes.Grace + time.Second)
		a.adopts([]string{"hosted"}, nil)
		a.collect()
		a.put(a.dev, a.image(nil, b), "v1")
		a.collectAll()
		a.holds(a.dev, "hosted")
		a.consistent()
	})
	t.Run("G11 a thousand references in batches", func(t *testing.T) {
		a := newAdopter(t, open)
		contents := numbered("layer %d", dice.Count(t, 250, 1000))
		var blobs []meta.Blob
		for _, c := range contents {
			blobs = append(blobs, a.push(a.prod, c))
		}
		image := a.image(nil, blobs...)
		err := a.tryPut(a.dev, image, "v1")
		var missing *meta.Missing
		if !errors.As(err, &missing) || len(missing.Blobs) != len(contents) || len(missing.Children) != 0 || !slices.IsSorted(missing.Blobs) {
			t.Fatalf("%v", err)
		}
		for some := range slices.Chunk(missing.Blobs, meta.MaxAdopted) {
			if left, err := a.Store.AdoptBlobs(t.Context(), cause(), a.from(), a.dev, some); err != nil || len(left) != 0 {
				t.Fatalf("%d are missing, %v", len(left), err)
			}
		}
		a.put(a.dev, image, "v1")
		a.must(a.Store.DeleteRepository(t.Context(), cause(), a.prod))
		a.collectAll()
		a.holds(a.dev, contents...)
		a.consistent()
	})
	t.Run("G13 a refused manifest names all that is missing", func(t *testing.T) {
		a := newAdopter(t, open)
		held := a.push(a.dev, "held")
		err := a.tryPut(a.dev, a.image(nil, held, described("one"), described("two")), "v1")
		a.refused(err, fault.NotFound, fault.ManifestBlobUnknown)
		a.detail(err, digestOf("one"), digestOf("two"))
		first, second := a.image(nil, held), a.image(nil, described("three"))
		err = a.tryPut(a.dev, a.index(first.Manifest, second.Manifest), "v1")
		a.refused(err, fault.NotFound, fault.ManifestBlobUnknown)
		a.detail(err, first.Manifest.Digest, second.Manifest.Digest)
		a.put(a.dev, first)
		a.detail(a.tryPut(a.dev, a.index(first.Manifest, second.Manifest), "v1"), second.Manifest.Digest)
	})
	t.Run("FindAdoptable asks in order", func(t *testing.T) {
		a := newAdopter(t, open)
		image := a.pushImage(a.prod, "v1", "config")
		a.fetched(a.cache, a.image(nil, described("cached")))
		for _, want := range []meta.Manifest{image, a.image(nil, described("cached")).Manifest} {
			got, err := a.Store.FindAdoptable(t.Context(), a.from(), want.Digest)
			if err != nil || got.MediaType != want.MediaType || string(got.Payload) != string(want.Payload) || got.Digest != want.Digest {
				t.Errorf("%+v, %v", got, err)
			}
		}
		_, err := a.Store.FindAdoptable(t.Context(), nil, image.Digest)
		a.refused(err, fault.NotFound, fault.ManifestUnknown)
		_, err = a.Store.FindAdoptable(t.Context(), []meta.Repo{a.dev}, image.Digest)
		a.refused(err, fault.NotFound, fault.ManifestUnknown)
	})
	t.Run("G14 what is hosted, too, does not count for a cache's limit", func(t *testing.T) {
		a := newAdopter(t, open)
		u, err := a.Store.FindUpstream(t.Context(), a.tenant, "ghcr")
		a.must(err)
		u.Settings.MaxBytes = 10
		_, err = a.Store.UpdateUpstream(t.Context(), cause(), u, false)
		a.must(err)
		first, second := a.image(nil, described("10 bytes a")), a.image(nil, described("10 bytes b"))
		for _, m := range []meta.ManifestPut{first, second} {
			a.fetched(a.cache, m)
			a.Advance(2 * time.Hour)
		}
		a.fill(a.cache, "10 bytes a")
		a.fill(a.cache, "10 bytes b")
		a.adopts([]string{"10 bytes a"}, nil)
		a.put(a.dev, first, "v1")
		if n, err := a.Store.EvictCached(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("evicted %d, %v; the cache holds 10 bytes of its own", n, err)
		}
		third := a.image(nil, described("10 bytes c"))
		a.fetched(a.cache, third)
		a.fill(a.cache, "10 bytes c")
		if n := a.twice(a.Store.EvictCached); n != 2 {
			t.Errorf("evicted %d; want the two before the last", n)
		}
		a.settle()
		a.holds(a.dev, "10 bytes a")
		if got := a.used("acme"); got != 20 {
			t.Errorf("charged %d", got)
		}
		a.consistent()
	})
}

// detail fails the test unless err tells of exactly these digests.
func (w world) detail(err error, want ...oci.Digest) {
	w.t.Helper()
	slices.Sort(want)
	found := fault.From(err)
	if found == nil {
		w.t.Fatal("no error")
	}
	got, _ := found.Detail.(map[string][]oci.Digest)
	if !slices.Equal(got["digests"], want) {
		w.t.Errorf("%s tells of %v, want %v", found.Message, found.Detail, want)
	}
	if len(want) == 1 && !strings.Contains(found.Message, string(want[0])) {
		w.t.Errorf("%q does not name %s", found.Message, want[0])
	}
}
