package metatest

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testTagHistory(t *testing.T, open Open) {
	t.Run("W50 D7 has each change of a tag, and who made it", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first, second := w.image(nil, w.push(r, "first")), w.image(nil, w.push(r, "second"))
		one, two := first.Manifest.Digest, second.Manifest.Digest
		w.by("serviceAccounts/a", r, first, "v1", "other")
		w.Advance(time.Minute)
		w.by("serviceAccounts/a", r, first, "v1") // no change
		w.by("users/b", r, second, "v1")
		by := cause()
		by.Actor = "users/c"
		w.must(w.Store.DeleteTag(t.Context(), by, r, "v1"))
		second.Verb = meta.TagUndeleted
		w.by("users/d", r, second, "v1")
		w.history(r, "v1",
			meta.TagChange{Actor: "users/d", Verb: meta.TagUndeleted, Digest: two},
			meta.TagChange{Actor: "users/c", Verb: meta.TagDeleted, Previous: two},
			meta.TagChange{Actor: "users/b", Verb: meta.TagPushed, Digest: two, Previous: one},
			meta.TagChange{Actor: "serviceAccounts/a", Verb: meta.TagPushed, Digest: one})
		w.history(r, "other", meta.TagChange{Actor: "serviceAccounts/a", Verb: meta.TagPushed, Digest: one})
		w.history(r, "none")
		_, err := w.Store.ListTagHistory(t.Context(), w.repo("none"), "v1", meta.Page{Size: 9})
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.consistent()
	})
	t.Run("W51 has what is deleted with its manifest, also in steps and with its subject", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		subject := w.put(r, image, numbered("tag%06d", 1100)...)
		large := w.image(descriptor(subject), w.manyBlobs(r, 600)...)
		w.put(r, large, "large")
		w.put(r, w.artifact(descriptor(subject), "application/sbom", nil, w.push(r, "sbom")), "sbom")
		by := cause()
		by.Actor = "users/a"
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: subject.Digest, By: by, Referrers: true}))
		w.sameTags(r)
		for _, tag := range []string{"tag000000", "tag000777", "tag001099", "large", "sbom"} {
			got, err := w.Store.ListTagHistory(t.Context(), r, tag, meta.Page{Size: 9})
			w.must(err)
			if len(got) != 2 || got[0].Verb != meta.TagDeleted || got[0].Actor != "users/a" || got[0].Digest != "" || got[0].Previous != got[1].Digest {
				t.Errorf("%s: %+v", tag, got)
			}
		}
		w.consistent()
	})
	t.Run("W52 is kept for a while, up to a hundred changes of a tag, and goes with its repository", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		images := []meta.ManifestPut{w.image(nil, w.push(r, "0")), w.image(nil, w.push(r, "1"))}
		for i := range meta.MaxTagChanges + 20 {
			w.put(r, images[i%2], "v1")
		}
		w.put(r, images[0], "old")
		all, err := w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{Size: 1000})
		w.must(err)
		if len(all) != meta.MaxTagChanges {
			t.Errorf("%d changes", len(all))
		}
		var paged []meta.TagChange
		for after := ""; ; {
			page, err := w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{After: after, Size: 30})
			w.must(err)
			if len(page) == 0 {
				break
			}
			paged, after = append(paged, page...), strconv.FormatInt(page[len(page)-1].Version, 10)
		}
		if fmt.Sprint(paged) != fmt.Sprint(all) {
			t.Errorf("%d changes in pages, %d at once", len(paged), len(all))
		}
		w.Advance(meta.DefaultLifetimes.TagHistory - time.Hour)
		w.put(r, images[0], "v1")
		w.trimHistory(0)
		w.Advance(2 * time.Hour)
		w.trimHistory(meta.MaxTagChanges)
		w.history(r, "old")
		w.history(r, "v1", meta.TagChange{Actor: cause().Actor, Verb: meta.TagPushed, Digest: images[0].Manifest.Digest, Previous: images[1].Manifest.Digest})
		w.must(w.Store.DeleteRepository(t.Context(), cause(), r))
		w.collectAll()
		w.put(r, w.index(), "v1")
		w.history(r, "v1", meta.TagChange{Actor: cause().Actor, Verb: meta.TagPushed, Digest: w.tagged(r, "v1")})
		w.consistent()
	})
	t.Run("W53 D7 of 32 writers is one line without a gap", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		const writers, pushes = 32, 3
		images := make([]meta.ManifestPut, writers*pushes)
		for i := range images {
			images[i] = w.image(nil, w.push(r, fmt.Sprint(i)))
		}
		began, ended := make([]int64, len(images)), make([]int64, len(images))
		var clock atomic.Int64
		together(times(writers, func(i int) {
			for n := i; n < len(images); n += writers {
				began[n] = clock.Add(1)
				w.by(fmt.Sprintf("users/%d", i), r, images[n], "v1")
				if ended[n] = clock.Add(1); i == 0 {
					w.fine(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
				}
			}
		})...)
		all, err := w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{Size: 1000})
		w.must(err)
		if len(all) != len(images)+pushes || all[0].Digest != w.tagged(r, "v1") {
			t.Fatalf("the last of %d changes is not what the tag points to", len(all))
		}
		for i, change := range all[1:] {
			if next := all[i]; next.Version != change.Version+1 || next.Previous != change.Digest {
				t.Errorf("%+v follows %+v", next, change)
			}
		}
		version := map[oci.Digest]int64{}
		for _, change := range all {
			version[change.Digest] = change.Version
		}
		for a, first := range images {
			for b, second := range images {
				if ended[a] < began[b] && version[first.Manifest.Digest] >= version[second.Manifest.Digest] {
					t.Errorf("push %d ended before %d began, and comes after it", a, b)
				}
			}
		}
		w.consistent()
	})
}

// by pushes tags as an actor.
func (w world) by(actor string, r meta.Repo, p meta.ManifestPut, tags ...string) {
	p.Repo, p.Tags, p.By = r, tags, cause()
	p.By.Actor = actor
	if err := w.Store.PutManifest(w.t.Context(), p); err != nil {
		w.t.Error(err)
	}
}

// history fails the test unless the tag has these changes, the newest first, whose times
// and versions only grow.
func (w world) history(r meta.Repo, tag string, want ...meta.TagChange) {
	w.t.Helper()
	got, err := w.Store.ListTagHistory(w.t.Context(), r, tag, meta.Page{Size: 1000})
	w.must(err)
	if len(got) != len(want) {
		w.t.Fatalf("%s has %d changes, want %d: %+v", tag, len(got), len(want), got)
	}
	for i, one := range got {
		if i > 0 && (got[i-1].Version != one.Version+1 || got[i-1].At.Before(one.At)) || one.At.After(w.Now()) {
			w.t.Errorf("%+v follows %+v", got[max(i-1, 0)], one)
		}
		one.Version, one.At = 0, time.Time{}
		if one != want[i] {
			w.t.Errorf("%s: change %d is %+v, want %+v", tag, i, one, want[i])
		}
	}
}

// trimHistory fails the test unless that many changes are too old.
func (w world) trimHistory(want int) {
	w.t.Helper()
	n, err := w.Store.TrimTagHistory(w.t.Context(), 1000)
	if err != nil || n != want {
		w.t.Errorf("%d changes are trimmed, want %d, %v", n, want, err)
	}
}

func (w world) manyBlobs(r meta.Repo, n int) []meta.Blob {
	w.t.Helper()
	blobs := make([]meta.Blob, n)
	for i := range blobs {
		blobs[i] = w.push(r, fmt.Sprint("layer ", i))
	}
	return blobs
}
