package metatest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// hosted is what the main registry of acme holds.
func (w world) hosted() meta.Hosted {
	w.t.Helper()
	r, err := w.Store.FindRegistry(w.t.Context(), w.tenant, tenant.MainRegistry)
	w.must(err)
	return r.Hosted
}

// allow sets the quota of the main registry of acme.
func (w world) allow(q tenant.Quota) {
	w.t.Helper()
	r, err := w.Store.FindRegistry(w.t.Context(), w.tenant, tenant.MainRegistry)
	w.must(err)
	r.Settings.Quota = q
	_, err = w.Store.UpdateRegistry(w.t.Context(), cause(), r)
	w.must(err)
}

// allowAll sets what all registries of acme may hold.
func (w world) allowAll(q tenant.Quota) {
	w.t.Helper()
	found, err := w.Store.FindTenant(w.t.Context(), "acme")
	w.must(err)
	found.MaxHosted = q
	_, err = w.Store.UpdateTenant(w.t.Context(), cause(), found)
	w.must(err)
}

// over fails the test unless err refuses by the quota of what.
func (w world) over(err error, what string) {
	w.t.Helper()
	w.refused(err, fault.Denied, fault.QuotaExceeded)
	if !strings.Contains(err.Error(), what) {
		w.t.Fatalf("%v does not name %q", err, what)
	}
}

func testHostedQuotas(t *testing.T, open Open) {
	t.Run("W257 a registry's bytes are its distinct blobs and its manifests, and all is counted", func(t *testing.T) {
		w := newWorld(t, open)
		a, b := w.repo("a"), w.repo("b")
		shared := w.push(a, "shared")
		image := w.put(a, w.image(nil, shared, w.push(a, "layer")), "v1", "v2")
		_, err := w.Store.MountBlob(t.Context(), cause(), a, b, shared.Digest)
		w.must(err)
		w.push(b, "shared")
		other := w.put(b, w.image(nil, shared), "v1")
		want := meta.Hosted{Bytes: 11 + int64(len(image.Payload)+len(other.Payload)), Repositories: 2, Manifests: 2, Tags: 3}
		if got := w.hosted(); got != want {
			t.Errorf("the registry holds %+v, want %+v", got, want)
		}
		w.must(w.tryDelete(a, image.Digest)) // its tags go with it, and the blob that the other one holds stays
		want = meta.Hosted{Bytes: 6 + int64(len(other.Payload)), Repositories: 2, Manifests: 1, Tags: 1}
		if got := w.hosted(); got != want {
			t.Errorf("the registry holds %+v after a delete, want %+v", got, want)
		}
		w.consistent()
		w.must(w.Store.DeleteRepository(t.Context(), cause(), b))
		w.must(w.Store.DeleteRepository(t.Context(), cause(), a))
		w.collectAll()
		if got := w.hosted(); got != (meta.Hosted{}) {
			t.Errorf("an empty registry holds %+v", got)
		}
		w.consistent()
	})
	t.Run("W257 is counted under the largest quotas, too", func(t *testing.T) {
		w := newWorld(t, open)
		const most = 1 << 60 // as the admin API has it
		w.allow(tenant.Quota{Bytes: most, Repositories: most, Manifests: most, Tags: most})
		w.allowAll(tenant.Quota{Repositories: most, Manifests: most, Tags: most})
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		w.put(r, image, "v1")
		w.must(w.tryDelete(r, image.Manifest.Digest))
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.collectAll()
		w.consistent()
	})
	t.Run("W258 pushes, mounts and undeletes stop at each quota, and change nothing", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		config := w.push(r, "config")
		image, other := w.image(nil, config), w.image(nil, config, config)
		w.put(r, image, "v1")
		held := w.hosted()
		same := func() {
			t.Helper()
			if now := w.hosted(); now != held {
				t.Errorf("the registry holds %+v, and held %+v", now, held)
			}
			w.consistent()
		}

		w.allow(tenant.Quota{Tags: 1})
		w.over(w.tryPut(r, image, "v2"), "this registry would hold 2 tags, and the quota is 1")
		w.put(r, other) // no tag
		w.put(r, other, "v1")
		w.must(w.tryDelete(r, image.Manifest.Digest))
		w.put(r, image, "v1")
		w.must(w.tryDelete(r, other.Manifest.Digest))
		same()

		w.allow(tenant.Quota{Manifests: 1})
		w.over(w.tryPut(r, other, "v1"), "manifests")
		w.over(w.undelete(r, other.Manifest.Digest), "manifests")
		w.put(r, image, "v1")
		same()

		w.allow(tenant.Quota{Bytes: held.Bytes})
		_, err := w.tryPush(r, "x")
		w.over(err, "bytes")
		w.over(w.tryPut(r, other, "v1"), "bytes")
		w.push(r, "config")
		same()

		w.allow(tenant.Quota{Repositories: 1})
		_, err = w.Store.CreateUpload(t.Context(), w.repo("b"), oci.SHA256)
		w.over(err, "repositories")
		_, err = w.Store.MountBlob(t.Context(), cause(), r, w.repo("b"), config.Digest)
		w.over(err, "repositories")
		same()
	})
	t.Run("W259 above a lowered quota, what does not grow it works", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		w.put(r, image, "v1", "v2")
		w.allow(tenant.Quota{Bytes: 1, Repositories: 1, Manifests: 1, Tags: 1})
		w.put(r, image, "v1")
		w.push(r, "config")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v2"))
		w.over(w.tryPut(r, image, "v3"), "2 tags, and the quota is 1")
		w.must(w.tryDelete(r, image.Manifest.Digest))
		w.over(w.undelete(r, image.Manifest.Digest), "bytes")
		w.allow(tenant.Quota{})
		w.must(w.undelete(r, image.Manifest.Digest))
		w.consistent()
	})
	t.Run("W260 the maxima of a tenant hold for all its registries together, and no cache counts", func(t *testing.T) {
		w, cached := newCache(t, open)
		image := w.image(nil, w.fill(cached, "cached"))
		w.fetched(cached, image, "v1")
		r := w.repo("app")
		w.put(r, w.image(nil, w.push(r, "config")), "v1")
		if got := w.hosted(); got.Repositories != 1 || got.Manifests != 1 || got.Tags != 1 {
			t.Errorf("the registry holds %+v", got)
		}
		_, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.must(err)
		dev, err := w.Store.FindRegistry(t.Context(), w.tenant, "dev")
		w.must(err)
		w.allowAll(tenant.Quota{Repositories: 2, Manifests: 1})
		second := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		config := w.push(second, "config")
		w.over(w.tryPut(second, w.image(nil, config, config), "v1"), "all registries of the tenant would hold 2 manifests")
		_, err = w.tryPush(meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "more"}, "config")
		w.over(err, "all registries of the tenant would hold 3 repositories")
		w.allowAll(tenant.Quota{})
		w.put(second, w.image(nil, config, config), "v1")
		found, err := w.Store.FindTenant(t.Context(), "acme")
		w.must(err)
		if found.Hosted.Repositories != 2 || found.Hosted.Manifests != 2 || found.Hosted.Tags != 2 {
			t.Errorf("the tenant holds %+v", found.Hosted)
		}
		w.consistent()
	})
	t.Run("W261 pushes at once never pass a quota together", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		w.put(r, image, "v0")
		w.allow(tenant.Quota{Tags: 4})
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { errs[i] = w.tryPut(r, image, fmt.Sprintf("v%d", i+1)) })
		}
		all.Wait()
		pushed := 0
		for _, err := range errs {
			if err == nil {
				pushed++
			} else {
				w.over(err, "tags")
			}
		}
		if held := w.hosted(); pushed != 3 || held.Tags != 4 {
			t.Errorf("%d pushes passed, and the registry holds %d tags of 4", pushed, held.Tags)
		}
		w.consistent()
	})
	t.Run("W265 counts that are wrong are mended, also if that is asked for while they are counted", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		for i := range 4 {
			w.pushImage(r, fmt.Sprintf("v%d", i), "config", fmt.Sprintf("layer %d", i))
		}
		want := w.hosted()
		w.must(w.Store.RecountHosted(t.Context(), cause(), w.tenant))
		for range 3 {
			_, err := w.Store.CountHosted(t.Context(), 2)
			w.must(err)
		}
		var steps sync.WaitGroup
		steps.Go(func() {
			for range 3 {
				if _, err := w.Store.CountHosted(t.Context(), 2); err != nil {
					t.Error(err)
				}
			}
		})
		w.must(w.Store.RecountHosted(t.Context(), cause(), w.tenant))
		steps.Wait()
		if !w.hosted().Counting {
			t.Error("it is not counted again")
		}
		for n := 1; n > 0; {
			var err error
			n, err = w.Store.CountHosted(t.Context(), 100)
			w.must(err)
		}
		if got := w.hosted(); got != want {
			t.Errorf("the registry holds %+v, want %+v", got, want)
		}
		w.consistent()
	})
	t.Run("W262 what was there is counted in steps while pushes and deletes continue", func(t *testing.T) {
		w, cached := newCache(t, open)
		w.fetched(cached, w.image(nil, w.fill(cached, "cached")), "v1")
		var images []meta.Manifest
		for i := range 4 {
			r := w.repo(fmt.Sprintf("app-%d", i))
			images = append(images, w.pushImage(r, "v1", "config", fmt.Sprintf("layer %d", i)))
			w.must(w.tryPut(r, w.image(nil, w.push(r, "config")), "v2", "v3"))
		}
		w.must(w.tryDelete(w.repo("app-3"), images[3].Digest))
		want := w.hosted()
		w.must(w.Store.RecountHosted(t.Context(), cause(), w.tenant))
		steps := 0
		for ; ; steps++ {
			n, err := w.Store.CountHosted(t.Context(), 3)
			w.must(err)
			if n == 0 {
				break
			}
			// Whatever part is counted already.
			r := w.repo(fmt.Sprintf("app-%d", steps%4))
			d := w.pushImage(r, "moving", "config", fmt.Sprintf("step %d", steps)).Digest
			w.must(w.tryDelete(r, d))
			if steps%3 == 0 {
				w.must(w.undelete(r, d))
				w.must(w.tryDelete(r, d))
			}
			if steps > 200 {
				t.Fatal("the count does not end")
			}
		}
		got := w.hosted()
		if got != want || steps < 5 {
			t.Errorf("the registry holds %+v after %d steps, want %+v", got, steps, want)
		}
		w.consistent()
	})
}
