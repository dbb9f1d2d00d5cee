package metatest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testTags(t *testing.T, open Open) {
	t.Run("page in byte order", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.index()
		w.put(r, m, "v2", "V1", "v10", "_x", "v1", "v1.0")
		w.put(w.repo("other"), m, "elsewhere")
		for _, page := range []struct {
			after string
			size  int
			want  []string
		}{
			{"", 100, []string{"V1", "_x", "v1", "v1.0", "v10", "v2"}},
			{"", 2, []string{"V1", "_x"}},
			{"_x", 2, []string{"v1", "v1.0"}},
			{"v1.1", 2, []string{"v10", "v2"}},
			{"v2", 2, nil},
			{"", 0, nil},
		} {
			got, err := w.Store.ListTags(t.Context(), r, meta.Page{After: page.after, Size: page.size})
			if err != nil || !slices.Equal(got, page.want) {
				t.Errorf("after %q: %v, %v; want %v", page.after, got, err, page.want)
			}
		}
		_, err := w.Store.ListTags(t.Context(), w.repo("none"), meta.Page{Size: 1})
		w.refused(err, fault.NotFound, fault.NameUnknown)
	})
	t.Run("P30 are read in parts, either way", func(t *testing.T) {
		w := newWorld(t, open)
		r, gone := w.repo("app"), w.repo("none")
		w.put(r, w.index(), "v2", "V1", "v10", "_x", "v1", "v1.0", "deleted")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "deleted"))
		w.put(w.repo("other"), w.index(), "elsewhere")
		testBetween(t, []string{"V1", "_x", "v1", "v1.0", "v10", "v2"}, func(b meta.Between[string]) ([]string, error) {
			return w.Store.TagsBetween(t.Context(), r, b)
		})
		for _, descending := range []bool{false, true} {
			_, err := w.Store.TagsBetween(t.Context(), gone, meta.Between[string]{Before: meta.LastName, Descending: descending, Size: 1})
			w.refused(err, fault.NotFound, fault.NameUnknown)
		}
	})
	t.Run("move, and leave what they pointed to", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first, second := w.pushImage(r, "latest", "one"), w.pushImage(r, "latest", "two")
		if got := w.tagged(r, "latest"); got != second.Digest {
			t.Errorf("latest is %s", got)
		}
		w.collectAll()
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: first.Digest})
		w.must(err)
		w.consistent()
	})
	t.Run("are deleted alone", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config")
		by := cause()
		w.must(w.Store.DeleteTag(t.Context(), by, r, "v1"))
		w.put(r, meta.ManifestPut{Manifest: m, Parsed: &oci.Manifest{}}, "v1")
		w.must(w.Store.DeleteTag(t.Context(), by, r, "v1")) // its answer was lost: it must not delete the new tag
		w.sameTags(r, "v1")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		for _, tag := range []string{"v1", "none"} {
			w.refused(w.Store.DeleteTag(t.Context(), cause(), r, tag), fault.NotFound, fault.ManifestUnknown)
		}
		w.refused(w.Store.DeleteTag(t.Context(), cause(), w.repo("none"), "v1"), fault.NotFound, fault.NameUnknown)
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: m.Digest})
		w.must(err)
		w.sameTags(r)
		w.consistent()
	})
	t.Run("S45 cost nothing once they are deleted, however many names there were", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.image(nil, w.push(r, "config"))
		w.put(r, m)
		before, _ := w.charged("acme")
		for i := range 20 {
			tag := fmt.Sprintf("build-%d", i)
			w.put(r, m, tag)
			w.must(w.Store.DeleteTag(t.Context(), cause(), r, tag))
		}
		if after, _ := w.charged("acme"); after != before {
			t.Errorf("charged %d before and %d after", before, after)
		}
		w.put(r, m, "many-1", "many-2")
		w.must(w.tryDelete(r, m.Manifest.Digest))
		w.Advance(meta.DefaultLifetimes.Undelete)
		w.collect()
		if after, _ := w.charged("acme"); after != before-meta.ChargeOf(m.Manifest, 1) {
			t.Errorf("charged %d once the manifest is deleted with its tags", after)
		}
		w.consistent()
	})
	t.Run("S34 go with their manifest, however many, unless an index names it", func(t *testing.T) { testManyTags(t, open) })
	t.Run("are deleted while they are pushed, and one of both is last", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.image(nil, w.push(r, "config"))
		w.put(r, m, "flap")
		together(times(8, func(i int) {
			for range 10 {
				if i%2 == 0 {
					if err := w.tryPut(r, m, "flap", "other"); err != nil {
						t.Errorf("push: %v", err)
					}
				} else if err := w.Store.DeleteTag(t.Context(), cause(), r, "flap"); err != nil && fault.KindOf(err) != fault.NotFound {
					t.Errorf("deletion: %v", err)
				}
			}
		})...)
		w.consistent()
		w.put(r, m, "flap")
		w.sameTags(r, "flap", "other")
	})
}

// testManyTags has more tags lead to a manifest than go in one step.
func testManyTags(t *testing.T, open Open) {
	w := newWorld(t, open)
	r := w.repo("app")
	image := w.image(nil, w.push(r, "config"))
	w.put(r, image, numbered("tag%06d", 1500)...)
	index := w.index(image.Manifest)
	w.put(r, index, "index")
	left := func() int {
		found, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 10_000})
		w.must(err)
		return len(found)
	}
	charged := func() int64 {
		acme, err := w.Store.FindTenantByID(t.Context(), w.tenant)
		w.must(err)
		return acme.Overhead
	}
	err := w.tryDelete(r, image.Manifest.Digest)
	w.refused(err, fault.Unsupported, fault.UnsupportedReason)
	if left() != 1501 {
		t.Errorf("%d tags are left of what an index names", left())
	}
	before := charged()
	w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: image.Manifest.Digest, By: cause(), Force: true}))
	if left() != 1 || charged() > before-1500*meta.TagCost {
		t.Errorf("%d tags are left, and %d bytes are charged of %d", left(), charged(), before)
	}
	w.consistent()
	_, err = w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: index.Manifest.Digest})
	w.must(err)
}
