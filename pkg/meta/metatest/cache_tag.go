package metatest

import (
	"fmt"
	"slices"
	"strings"
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
	t.Run("T10 are doubted when what they lead to is gone", testDoubtedTags(open))
	t.Run("T64 lead to manifests of known age", testLineage(open))
	t.Run("T11 are listed", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, described("one"))
		for _, tag := range []string{"old", "b", "a"} {
			w.fetched(r, image, tag)
			w.Advance(time.Minute)
		}
		since := w.Now().Add(-2 * time.Minute) // that of b
		for _, c := range []struct {
			repo  meta.Repo
			after string
			size  int
			want  string
		}{
			{r, "", 9, "a b"},
			{r, "", 1, "a"},
			{r, "a", 9, "b"},
			{r, "b", 9, ""},
			{w.repo(r.Name), "", 9, ""},
			{meta.Repo{Tenant: w.tenant, Registry: r.Registry, Name: "none"}, "", 9, ""},
		} {
			got, err := w.Store.ListCachedTags(t.Context(), c.repo, since, meta.Page{After: c.after, Size: c.size})
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("after %q: %q, %v; want %q", c.after, got, err, c.want)
			}
		}
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

// testDoubtedTags has tags that lead to content directly, by an index, and by an index of
// indexes, and others that do not.
func testDoubtedTags(open Open) func(*testing.T) {
	return func(t *testing.T) {
		w, r := newCache(t, open)
		image, other := w.image(nil, described("config"), described("layer")), w.image(nil, described("other"))
		index := w.index(image.Manifest)
		outer := w.index(index.Manifest)
		put := func() {
			w.fetched(r, other, "other")
			w.fetched(r, image, "image")
			w.fetched(r, index, "index")
			w.fetched(r, outer, "outer")
		}
		doubted := func(want ...string) {
			t.Helper()
			var got []string
			for _, tag := range []string{"image", "index", "other", "outer"} {
				if c, err := w.Store.FindCachedTag(t.Context(), r, tag); err != nil {
					t.Fatal(err)
				} else if c.Doubted {
					got = append(got, tag)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("doubted %v, want %v", got, want)
			}
		}
		put()
		doubted()
		for d, want := range map[oci.Digest][]string{
			digestOf("layer"): {"image", "index", "outer"}, digestOf("config"): {"image", "index", "outer"},
			image.Manifest.Digest: {"image", "index", "outer"}, index.Manifest.Digest: {"index", "outer"},
			outer.Manifest.Digest: {"outer"}, digestOf("other"): {"other"}, digestOf("never seen"): nil,
		} {
			for _, elsewhere := range []meta.Repo{w.repo(r.Name), {Tenant: w.tenant, Registry: r.Registry, Name: "none"}} {
				w.must(w.Store.DoubtCachedTags(t.Context(), elsewhere, d))
			}
			doubted()
			w.must(w.Store.DoubtCachedTags(t.Context(), r, d))
			w.must(w.Store.DoubtCachedTags(t.Context(), r, d))
			doubted(want...)
			w.must(w.Store.ConfirmCachedTag(t.Context(), r, "outer", outer.Manifest.Digest))
			doubted(slices.DeleteFunc(want, func(tag string) bool { return tag == "outer" })...)
			put()
			doubted()
		}
		for i := range 1003 { // more than are marked at a time
			w.fetched(r, image, fmt.Sprintf("t%d", i))
		}
		w.must(w.Store.DoubtCachedTags(t.Context(), r, digestOf("layer")))
		for i := range 1003 {
			if c, err := w.Store.FindCachedTag(t.Context(), r, fmt.Sprintf("t%d", i)); err != nil || !c.Doubted {
				t.Fatalf("tag %d of many: %v, %v", i, c.Doubted, err)
			}
		}
		w.consistent()
	}
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
