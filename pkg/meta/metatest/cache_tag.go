package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCachedTags(t *testing.T, open Open) {
	t.Run("know when they were checked", func(t *testing.T) {
		w, r := newCache(t, open)
		first, second := w.image(nil, described("one")), w.image(nil, described("two"))
		w.fetched(r, first, "v1")
		put := w.Now()
		w.Advance(time.Minute)
		w.fetched(r, first) // by digest: nothing is said of the tag
		w.cachedTag(r, "v1", first, put)
		w.must(w.Store.ConfirmCachedTag(t.Context(), r, "v1", first.Manifest.Digest))
		w.cachedTag(r, "v1", first, w.Now())
		w.Advance(time.Minute)
		w.fetched(r, second, "v1")
		w.cachedTag(r, "v1", second, w.Now())
		w.Advance(time.Minute)
		w.must(w.Store.ConfirmCachedTag(t.Context(), r, "new", first.Manifest.Digest))
		w.cachedTag(r, "new", first, w.Now())
		w.refused(w.Store.ConfirmCachedTag(t.Context(), r, "v1", digestOf("never seen")), fault.NotFound, fault.ManifestUnknown)
		w.cachedTag(r, "v1", second, w.Now().Add(-time.Minute))
		w.consistent()
	})
	t.Run("are dropped alone", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("one"))
		w.fetched(r, image, "v1")
		w.fetched(r, image, "v2")
		w.must(w.Store.DropCachedTag(t.Context(), r, "v1"))
		w.must(w.Store.DropCachedTag(t.Context(), r, "v1"))
		_, err := w.Store.FindCachedTag(t.Context(), r, "v1")
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.cachedTag(r, "v2", image, w.Now())
		_, err = w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: image.Manifest.Digest})
		w.must(err)
		w.must(w.Store.DropCachedTag(t.Context(), meta.Repo{Tenant: w.tenant, Registry: r.Registry, Name: "none"}, "v1"))
	})
	t.Run("E15 tell of going back", func(t *testing.T) {
		w, r := newCache(t, open)
		a, b, c := w.image(nil, described("a")), w.image(nil, described("b")), w.image(nil, described("c"))
		rollbacks := func(want ...meta.ManifestPut) {
			t.Helper()
			var got []meta.Event
			for _, e := range w.events("", 100) {
				if e.Verb == "cache.tag_rollback" {
					got = append(got, e)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%d rollbacks, want %d: %+v", len(got), len(want), got)
			}
			for i, m := range want {
				target := "upstreams/ghcr/repositories/library/app:v1@" + m.Manifest.Digest.String()
				if got[i].Target != target || got[i].Actor != "upstreams/ghcr" || got[i].At.After(w.Now()) {
					t.Errorf("event %+v, want target %s", got[i], target)
				}
			}
		}
		for _, m := range []meta.ManifestPut{a, a, b, b, c} {
			w.fetched(r, m, "v1")
			w.fetched(r, m, m.Manifest.Digest.Hex()[:5])
		}
		w.must(w.Store.ConfirmCachedTag(t.Context(), r, "v1", c.Manifest.Digest))
		rollbacks()
		w.fetched(r, b, "v1")
		rollbacks(b)
		w.cachedTag(r, "v1", b, w.Now())
		w.must(w.Store.ConfirmCachedTag(t.Context(), r, "v1", c.Manifest.Digest))
		w.fetched(r, b, "v1")
		rollbacks(b) // one event stands for what follows it at once
		w.Advance(meta.TellAgain + time.Second)
		w.must(w.Store.ConfirmCachedTag(t.Context(), r, "v1", c.Manifest.Digest))
		rollbacks(c, b)
		w.fetched(r, a, "v1") // of the one before only
		rollbacks(c, b)
		w.cachedTag(r, "v1", a, w.Now())
	})
}

// cachedTag fails the test unless the tag is what it should be.
func (w world) cachedTag(r meta.Repo, tag string, want meta.ManifestPut, checkedAt time.Time) {
	w.t.Helper()
	got, err := w.Store.FindCachedTag(w.t.Context(), r, tag)
	w.must(err)
	if got.Manifest.Digest != want.Manifest.Digest || !got.CheckedAt.Equal(checkedAt) {
		w.t.Errorf("%s is %s, checked at %s; want %s, %s", tag, got.Manifest.Digest, got.CheckedAt, want.Manifest.Digest, checkedAt)
	}
}
