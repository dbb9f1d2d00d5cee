package metatest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// back undeletes a tag; what says to which of its changes.
func (w world) back(r meta.Repo, tag string, what ...func(*meta.TagUndelete)) (oci.Digest, error) {
	u := meta.TagUndelete{Repo: r, Tag: tag, By: cause()}
	u.By.Actor = "users/undo"
	for _, set := range what {
		set(&u)
	}
	return w.Store.UndeleteTag(w.t.Context(), u)
}

// isBack fails the test unless the undelete points the tag to the manifest.
func (w world) isBack(r meta.Repo, tag string, want oci.Digest, what ...func(*meta.TagUndelete)) {
	w.t.Helper()
	got, err := w.back(r, tag, what...)
	if w.must(err); got != want || w.tagged(r, tag) != want {
		w.t.Errorf("%s is %s, and the response says %s; want %s", tag, w.tagged(r, tag), got, want)
	}
}

// notBack fails the test unless the undelete is refused.
func (w world) notBack(kind fault.Kind, reason fault.Reason, r meta.Repo, tag string, what ...func(*meta.TagUndelete)) {
	w.t.Helper()
	_, err := w.back(r, tag, what...)
	w.refused(err, kind, reason)
}

func toDigest(d oci.Digest) func(*meta.TagUndelete) {
	return func(u *meta.TagUndelete) { u.Digest = d }
}

func toVersion(n int64) func(*meta.TagUndelete) { return func(u *meta.TagUndelete) { u.Version = n } }

func overriding(u *meta.TagUndelete) { u.By.OverrideTagRules = true }

func validating(u *meta.TagUndelete) { u.By.ValidateOnly = true }

func testTagUndelete(t *testing.T, open Open) {
	t.Run("W14 a deleted tag is there again, and a moved one points to what it did", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		one, two := w.pushImage(r, "v1", "one").Digest, w.pushImage(r, "v1", "two").Digest
		w.isBack(r, "v1", one)
		w.notBack(fault.Conflict, fault.AlreadyExists, r, "v1") // a request that is repeated moves nothing
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		w.isBack(r, "v1", one, validatingIsNot(w, r, "v1"))
		w.isBack(r, "v1", two, toDigest(two))
		w.isBack(r, "v1", two, toDigest(two)) // no change
		undone := func(d, was oci.Digest) meta.TagChange {
			return meta.TagChange{Actor: "users/undo", Verb: meta.TagUndeleted, Digest: d, Previous: was}
		}
		actor := cause().Actor
		w.history(r, "v1", undone(two, one), undone(one, ""), meta.TagChange{Actor: actor, Verb: meta.TagDeleted, Previous: one}, undone(one, two),
			meta.TagChange{Actor: actor, Verb: meta.TagPushed, Digest: two, Previous: one}, meta.TagChange{Actor: actor, Verb: meta.TagPushed, Digest: one})
		if e := w.events("", 1)[0]; e.Verb != "tag.undelete" || e.Target != "registries/main/repositories/app:v1@"+two.String() {
			t.Errorf("the event is %s of %s", e.Verb, e.Target)
		}
		w.consistent()
	})
	t.Run("W14 by a version of its history, and not by what that does not name", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		one := w.pushImage(r, "v1", "one").Digest
		w.notBack(fault.NotFound, fault.ManifestUnknown, r, "v1") // it was not there before
		w.notBack(fault.NotFound, fault.ManifestUnknown, r, "none")
		w.notBack(fault.NotFound, fault.NameUnknown, w.repo("none"), "v1")
		two := w.pushImage(r, "v1", "two").Digest
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		changes, err := w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{Size: 9})
		w.must(err)
		other := w.pushImage(r, "v2", "three").Digest
		w.notBack(fault.NotFound, fault.ManifestUnknown, r, "v1", toDigest(other))
		w.notBack(fault.NotFound, fault.ManifestUnknown, r, "v1", toVersion(changes[0].Version+1))
		w.notBack(fault.Invalid, fault.RequestInvalid, r, "v1", toVersion(changes[0].Version))
		w.isBack(r, "v1", one, toVersion(changes[2].Version))
		w.isBack(r, "v1", two, toVersion(changes[1].Version))
		w.consistent()
	})
	t.Run("W14 a manifest in the trash is restored with the tag, and that alone", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.put(r, w.image(nil, w.push(r, "child")))
		index := w.put(r, w.index(child), "v1", "other").Digest
		w.must(w.tryDelete(r, index))
		w.must(w.tryDelete(r, child.Digest))
		w.isBack(r, "v1", index, validatingIsNot(w, r, "v1"))
		w.complete(r, child.Digest, "child")
		w.sameTags(r, "v1")
		two := w.pushImage(r, "v1", "two").Digest
		w.must(w.tryDelete(r, index))
		w.isBack(r, "v1", index) // it moves from what it has
		if w.tagged(r, "v1") != index || len(w.trash(r)) != 0 {
			t.Errorf("v1 is %s, the trash %v", w.tagged(r, "v1"), w.trash(r))
		}
		w.isBack(r, "v1", two, toDigest(two))
		w.must(w.tryDelete(r, index))
		w.Advance(meta.DefaultLifetimes.Undelete)
		w.notBack(fault.NotFound, fault.ManifestUnknown, r, "v1", toDigest(index))
		w.collect()
		w.notBack(fault.NotFound, fault.ManifestUnknown, r, "v1", toDigest(index))
		w.sameTags(r, "v1")
		w.consistent()
	})
	t.Run("W14 the same request again takes effect once", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		one := w.pushImage(r, "v1", "one").Digest
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		u := meta.TagUndelete{Repo: r, Tag: "v1", By: cause()}
		for range 2 {
			got, err := w.Store.UndeleteTag(t.Context(), u)
			if w.must(err); got != one {
				t.Errorf("v1 is %s", got)
			}
		}
		w.must(w.tryDelete(r, one))
		u.By = cause()
		for range 2 {
			got, err := w.Store.UndeleteTag(t.Context(), u)
			if w.must(err); got != one {
				t.Errorf("v1 is %s", got)
			}
		}
		w.consistent()
	})
	t.Run("W15 tag rules decide about it as about a push", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		one, two := w.pushImage(r, "1.0.0", "one").Digest, w.pushImage(r, "1.0.0", "two").Digest
		w.pushImage(r, "1.0.1", "one")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "1.0.1"))
		w.addTagRule(w.tagRule("releases"))
		w.isBack(r, "1.0.1", one) // what is not there is not protected
		for range 2 {             // the manifest is there, or in the trash
			for _, what := range [][]func(*meta.TagUndelete){{toDigest(one)}, {toDigest(one), validating}} {
				_, err := w.back(r, "1.0.0", what...)
				w.protects(err, "tag 1.0.0 is protected by tag rule releases (no overwrite)")
			}
			del := meta.ManifestDelete{Repo: r, Digest: one, By: cause()}
			del.By.OverrideTagRules = true
			if err := w.Store.DeleteManifest(t.Context(), del); err != nil && !fault.Is(err, fault.ManifestUnknown) {
				t.Fatal(err)
			}
		}
		if w.tagged(r, "1.0.0") != two || len(w.trash(r)) != 1 {
			t.Errorf("1.0.0 is %s, the trash %v", w.tagged(r, "1.0.0"), w.trash(r))
		}
		for _, d := range []oci.Digest{one, two} {
			w.isBack(r, "1.0.0", d, toDigest(d), overriding)
			if e := w.events("", 1)[0]; e.Changes == "" || w.tagRulesIn(e) != 1 {
				t.Errorf("the event says %s", e.Changes)
			}
		}
		w.consistent()
	})
	t.Run("W16 against what takes its manifest out of the trash it is done", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "config"))
		d := image.Manifest.Digest
		for i := range 20 {
			w.put(r, image, "v1")
			w.must(w.tryDelete(r, d))
			together(
				func() {
					_, err := w.back(r, "v1", toDigest(d))
					w.fine(err)
				},
				func() {
					if i%2 == 0 {
						w.fine(w.tryPut(r, image, "pushed"))
						return
					}
					if err := w.undelete(r, d, "restored"); err != nil && !fault.Is(err, fault.ManifestUnknown) {
						t.Error(err)
					}
				},
			)
			if w.tagged(r, "v1") != d {
				t.Fatalf("v1 is %q", w.tagged(r, "v1"))
			}
			w.consistent()
		}
	})
	t.Run("W16 against pushes and deletes of the tag and its manifest it is one line", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		images := make([]meta.ManifestPut, 3)
		for i := range images {
			images[i] = w.image(nil, w.push(r, fmt.Sprint(i)))
			w.put(r, images[i], "v1")
		}
		var undone atomic.Int64
		together(times(6, func(i int) {
			for n := range 15 {
				d := images[(i+n)%len(images)].Manifest.Digest
				var err error
				switch i {
				case 0:
					w.by("users/push", r, images[n%len(images)], "v1")
				case 1:
					err = w.Store.DeleteTag(t.Context(), cause(), r, "v1")
				case 2:
					err = w.tryDelete(r, d)
				default:
					if _, err = w.back(r, "v1", toDigest(d)); err == nil {
						undone.Add(1)
					}
				}
				if err != nil && !fault.Is(err, fault.ManifestUnknown) && !fault.Is(err, fault.EtagMismatch) {
					t.Error(err)
				}
			}
		})...)
		all, err := w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{Size: 1000})
		w.must(err)
		for i, change := range all[1:] {
			if next := all[i]; next.Version != change.Version+1 || next.Previous != change.Digest {
				t.Errorf("%+v follows %+v", next, change)
			}
		}
		if at := w.tagged(r, "v1"); at != all[0].Digest || undone.Load() == 0 {
			t.Errorf("v1 is %s after %d undeletes, and its last change was to %s", at, undone.Load(), all[0].Digest)
		}
		w.consistent()
		w.Advance(10 * time.Hour)
		w.collect()
		w.consistent()
	})
}

// validatingIsNot validates the same undelete before it, which changes nothing.
func validatingIsNot(w world, r meta.Repo, tag string) func(*meta.TagUndelete) {
	return func(u *meta.TagUndelete) {
		w.t.Helper()
		dry := *u
		dry.By = cause()
		dry.By.ValidateOnly = true
		before, trash, last := w.tagged(r, tag), len(w.trash(r)), w.events("", 1)[0].ID
		if _, err := w.Store.UndeleteTag(w.t.Context(), dry); err != nil {
			w.t.Error(err)
		}
		if w.tagged(r, tag) != before || len(w.trash(r)) != trash || w.events("", 1)[0].ID != last {
			w.t.Errorf("an undelete that was only validated changed something: %s is %s", tag, w.tagged(r, tag))
		}
	}
}

// tagRulesIn is how many rules the event says were overridden.
func (w world) tagRulesIn(e meta.Event) int {
	changes, err := meta.DecodeChanges(e.Changes)
	w.must(err)
	n := 0
	for _, c := range changes {
		if c.New == "overridden" {
			n++
		}
	}
	return n
}
