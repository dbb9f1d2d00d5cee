package metatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// charged is what a tenant is charged for its rows, and how much of all counts as
// cached.
func (w world) charged(slug string) (int64, int64) {
	w.t.Helper()
	found, err := w.Store.FindTenant(w.t.Context(), slug)
	w.must(err)
	return found.Overhead, found.Cached
}

// limit sets the quota.
func (w world) limit(slug string, quota int64) {
	w.t.Helper()
	found, err := w.Store.FindTenant(w.t.Context(), slug)
	w.must(err)
	found.Quota = quota
	_, err = w.Store.UpdateTenant(w.t.Context(), cause(), found)
	w.must(err)
}

func testCharges(t *testing.T, open Open) {
	t.Run("S41 rows cost what they take", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"), w.push(r, "layer"))
		w.put(r, image, "v1", "v2")
		w.put(r, image, "v2", "v3") // only the tag is new
		index := w.index(image.Manifest)
		w.put(r, index)
		want := int64(meta.RepositoryCost+2*meta.BlobCost+3*meta.TagCost+meta.NameClaimCost) +
			meta.ChargeOf(image.Manifest, 2) + meta.ChargeOf(index.Manifest, 1)
		if got, cached := w.charged("acme"); got != want || cached != 0 {
			t.Errorf("charged %d, want %d; cached %d", got, want, cached)
		}
		w.consistent()

		w.must(w.tryDelete(r, index.Manifest.Digest))
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v3"))
		want -= meta.TagCost
		if got, _ := w.charged("acme"); got != want {
			t.Errorf("charged %d after a deletion, want %d", got, want)
		}
		w.Advance(meta.DefaultLifetimes.Undelete)
		w.collect()
		want -= meta.ChargeOf(index.Manifest, 1)
		if got, _ := w.charged("acme"); got != want {
			t.Errorf("charged %d once the trash has ended, want %d", got, want)
		}
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.collectAll()
		if got, _ := w.charged("acme"); got != meta.NameClaimCost || w.used("acme") != 0 {
			t.Errorf("charged %d and %d when all is gone but the claim", got, w.used("acme"))
		}
		w.must(w.Store.ReleaseNameClaim(t.Context(), cause(), r))
		if got, _ := w.charged("acme"); got != 0 {
			t.Errorf("charged %d for nothing", got)
		}
		w.consistent()
	})
	t.Run("S41 manifests, tags and repositories stop at the quota", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", 1<<20)
		r := w.repo("app")
		b := w.push(r, "config")
		image, other := w.image(nil, b), w.image(nil, b, b)
		w.put(r, image, "v1")
		all := func() int64 {
			overhead, _ := w.charged("small")
			return w.used("small") + overhead
		}
		w.limit("small", all()+meta.TagCost)
		w.refused(w.tryPut(r, other, "v1"), fault.Denied, fault.QuotaExceeded)
		w.put(r, image, "v2")
		w.refused(w.tryPut(r, image, "v3"), fault.Denied, fault.QuotaExceeded)
		_, err := w.Store.CreateUpload(t.Context(), w.repo("another"), oci.SHA256)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		_, err = w.Store.MountBlob(t.Context(), cause(), r, w.repo("another"), b.Digest)
		w.refused(err, fault.Denied, fault.QuotaExceeded)

		// Above the quota, what is there can be pulled, pushed again and deleted.
		w.limit("small", 1)
		w.put(r, image, "v1")
		if w.tagged(r, "v2") != image.Manifest.Digest {
			t.Error("the image cannot be pulled")
		}
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v2"))
		w.must(w.tryDelete(r, image.Manifest.Digest))
		w.limit("small", 0)
		w.put(r, other, "v1")
		w.consistent()
	})
	t.Run("S41 what is deleted goes from the charge, whatever had linked it", func(t *testing.T) {
		w, r := newCache(t, open)
		b := w.fill(r, "12345")
		image := w.image(nil, b)
		w.fetched(r, image, "v1")
		overhead, cached := w.charged("acme")
		if cached != overhead+5 {
			t.Errorf("%d of %d count as cached", cached, overhead+5)
		}
		w.push(w.repo("app"), "12345")
		if _, now := w.charged("acme"); now != cached-5-meta.BlobCost {
			t.Errorf("%d count as cached although the blob is hosted, %d before", now, cached)
		}
		w.consistent()
		w.must(w.Store.DeleteBlob(t.Context(), cause(), w.repo("app"), b.Digest))
		if _, now := w.charged("acme"); now != cached {
			t.Errorf("%d count as cached again, want %d", now, cached)
		}
		w.consistent()
		w.must(w.Store.PurgeCached(t.Context(), cause(), r, oci.Reference{}))
		w.collectAll()
		if overhead, cached := w.charged("acme"); overhead != meta.RepositoryCost || cached != 0 { // of app
			t.Errorf("charged %d, %d cached, when nothing is cached", overhead, cached)
		}
		w.consistent()
	})
	t.Run("S41 references that an older version left uncounted are counted", func(t *testing.T) {
		w := newWorld(t, open)
		w.pushImage(w.repo("app"), "v1", "config", "layer")
		n, err := w.Store.SettleCharges(t.Context())
		if err != nil || n != 0 {
			t.Errorf("counted %d, %v", n, err)
		}
		w.consistent()
	})
}

func testStaging(t *testing.T, open Open) {
	advance := func(w world, u meta.Upload, to int64) (meta.Upload, error) {
		return w.Store.AdvanceUpload(w.t.Context(), u, blob.Progress{Offset: to, State: []byte("hash")})
	}
	t.Run("S42 a session stages what is left of the quota, and no more", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", room(1000, 1, 0))
		r := w.repo("app")
		create := func() meta.Upload {
			u, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
			w.must(err)
			return u
		}
		first, second := create(), create()
		first, err := advance(w, first, 600)
		w.must(err)
		_, err = advance(w, first, 1001)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		_, err = advance(w, second, 401)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		now, err := w.Store.FindUpload(t.Context(), r, first.ID)
		w.must(err)
		if now.Stage.Offset != 600 || now.Epoch != first.Epoch {
			t.Errorf("the refused step left %+v", now)
		}
		_, err = advance(w, second, 400)
		w.must(err)
		_, err = w.Store.TakeUpload(t.Context(), r, first.ID, 600)
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		_, err = w.Store.CreateUpload(t.Context(), r, oci.SHA256)
		w.refused(err, fault.Denied, fault.QuotaExceeded)

		// A session that ends gives back what it held.
		w.must(w.Store.CancelUpload(t.Context(), r, second.ID))
		third := create()
		_, err = advance(w, third, 400)
		w.must(err)
		w.Advance(meta.DefaultLifetimes.UploadTTL + time.Second)
		w.collect()
		_, err = advance(w, create(), 1000)
		w.must(err)
	})
	t.Run("S42 many sessions together stage no more", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", room(1000, 1, 0))
		r := w.repo("app")
		const sessions, step = 16, 90
		uploads := make([]meta.Upload, sessions)
		for i := range uploads {
			var err error
			uploads[i], err = w.Store.CreateUpload(t.Context(), r, oci.SHA256)
			w.must(err)
		}
		staged := make([]int64, sessions)
		together(times(sessions, func(i int) {
			for at := int64(step); ; at += step {
				u, err := advance(w, uploads[i], at)
				if err != nil {
					if !fault.Is(err, fault.QuotaExceeded) {
						t.Error(err)
					}
					return
				}
				uploads[i], staged[i] = u, at
			}
		})...)
		var all int64
		for _, n := range staged {
			all += n
		}
		if all != 990 {
			t.Errorf("%d bytes are staged in steps of %d beside 1,000 that are left", all, step)
		}
	})
}

func testPushesWin(t *testing.T, open Open) {
	full := func(t *testing.T) (world, meta.Repo) {
		w, _ := newCache(t, open)
		w.tenant, w.registry = w.addTenant("small", 1<<20)
		u := w.addUpstream("ghcr", meta.UpstreamSettings{Keep: keep})
		r := meta.Repo{Tenant: w.tenant, Registry: u.Cache, Name: "library/app"}
		for i := range 8 {
			b := w.fill(r, fmt.Sprintf("%d%0999d", i, 0))
			w.fetched(r, w.image(nil, b), fmt.Sprintf("v%d", i))
			w.Advance(time.Hour)
		}
		overhead, _ := w.charged("small")
		w.limit("small", w.used("small")+overhead+10)
		return w, r
	}
	t.Run("S43 cached content gives way to a push", func(t *testing.T) {
		w, r := full(t)
		_, err := w.tryFill(r, "more than ten bytes")
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.pushImage(w.repo("mine"), "v1", "config", fmt.Sprintf("%01999d", 0))
		w.consistent()

		// It shrinks until all fits again: what was pulled least recently goes.
		for range 3 {
			w.Advance(time.Minute)
			w.collect()
		}
		w.consistent()
		found, err := w.Store.FindTenant(t.Context(), "small")
		w.must(err)
		if all := found.Used + found.Overhead; all > found.Quota || found.Cached < 1000 {
			t.Errorf("%d bytes of %d are used, %d of them cached", all, found.Quota, found.Cached)
		}
		gone, there := 0, 0
		for i := range 8 {
			_, err := w.Store.FindCachedTag(t.Context(), r, fmt.Sprintf("v%d", i))
			switch {
			case err == nil:
				there++
			case there > 0:
				t.Errorf("v%d went, and was pulled after what stays", i)
			default:
				gone++
			}
		}
		if gone == 0 || there == 0 {
			t.Errorf("%d of 8 images went", gone)
		}
	})
	t.Run("S43 what is pushed does not give way", func(t *testing.T) {
		w, _ := full(t)
		room := func() int64 {
			found, err := w.Store.FindTenant(t.Context(), "small")
			w.must(err)
			return found.Quota - (found.Used + found.Overhead - found.Cached)
		}
		r := w.repo("mine")
		pushed := 0
		for ; room() > meta.RepositoryCost+meta.BlobCost+1000; pushed++ {
			w.push(r, fmt.Sprintf("m%d%0998d", pushed, 0))
		}
		_, err := w.tryPush(r, fmt.Sprintf("%d", room()+1)+fmt.Sprintf("%01999d", 0))
		for range 3 {
			if err == nil {
				_, err = w.tryPush(r, fmt.Sprintf("%d%01999d", room(), 1))
			}
		}
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.consistent()
		w.collect()
		for i := range pushed {
			_, err := w.Store.FindBlob(t.Context(), r, digestOf(fmt.Sprintf("m%d%0998d", i, 0)))
			w.must(err)
		}
	})
}
