package metatest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// testTagRuleRaces lets what a rule protects meet what would change it.
func testTagRuleRaces(t *testing.T, open Open) {
	t.Run("W37 B8 one of many first pushes of a tag", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		images := make([]meta.ManifestPut, 8)
		for i := range images {
			images[i] = w.image(nil, w.push(r, fmt.Sprint(i)))
		}
		w.addTagRule(w.tagRule("releases"))
		for _, tag := range numbered("1.0.%d", 10) {
			var won atomic.Int64
			together(times(len(images), func(i int) {
				switch err := w.tryPut(r, images[i], tag); {
				case err == nil:
					won.Add(1)
				case !fault.Is(err, fault.DeniedReason):
					t.Error(err)
				}
			})...)
			if won.Load() != 1 {
				t.Errorf("%d pushes of %s were taken", won.Load(), tag)
			}
		}
		w.consistent()
	})
	t.Run("W37 B8 a push of a tag against deletions of what it leads to", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.addTagRule(w.tagRule("releases"))
		for i := range 20 {
			child := w.put(r, w.image(nil, w.push(r, fmt.Sprint(i))))
			inner := w.put(r, w.index(child))
			outer, tag := w.index(inner), fmt.Sprintf("1.0.%d", i)
			var pushed, found, deleted error
			together(
				func() {
					pushed = w.tryPut(r, outer, tag)
					_, found = w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: child.Digest})
				},
				func() {
					deleted = w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: child.Digest, By: cause(), Force: true})
				},
			)
			w.must(pushed)
			switch {
			case deleted == nil && found == nil:
				t.Errorf("%s lost a manifest that it led to when its push was answered", tag)
			case deleted != nil && !fault.Is(deleted, fault.DeniedReason):
				t.Fatal(deleted)
			}
			w.protects(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: inner.Digest, By: cause(), Force: true}), tag)
		}
		w.consistent()
	})
	t.Run("W38 a new rule counts from its answer on", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		images := make([]meta.ManifestPut, 4)
		for i := range images {
			images[i] = w.image(nil, w.push(r, fmt.Sprint(i)))
		}
		for range 10 {
			w.put(r, images[0], "1.0.0")
			var done atomic.Bool
			movers := times(len(images), func(i int) {
				for !done.Load() {
					if err := w.tryPut(r, images[i], "1.0.0"); err != nil && !fault.Is(err, fault.DeniedReason) {
						t.Error(err)
					}
				}
			})
			together(append(movers, func() {
				w.addTagRule(w.tagRule("releases"))
				before := w.tagged(r, "1.0.0")
				for i, image := range images {
					err := w.tryPut(r, image, "1.0.0")
					if (err == nil) != (image.Manifest.Digest == before) {
						t.Errorf("push %d: %v", i, err)
					}
				}
				if after := w.tagged(r, "1.0.0"); after != before {
					t.Errorf("the tag was moved from %s to %s after the rule was there", before, after)
				}
				done.Store(true)
			})...)
			w.must(w.Store.DeleteTagRule(t.Context(), cause(), w.tenant, "releases", 0))
		}
	})
}
