package metatest

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testTrashIndex(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	w := newWorld(t, open)
	r := w.repo("app")
	leaf := w.put(r, w.image(nil, w.push(r, "config"), w.push(r, "layer")))
	middle := w.put(r, w.index(leaf))
	top := w.put(r, w.index(middle), "v1")
	for _, m := range []meta.Manifest{top, middle, leaf} {
		w.must(w.tryDelete(r, m.Digest))
	}
	w.Advance(life.Undelete - time.Second)
	w.collect()
	w.must(w.undelete(r, top.Digest))
	if left := w.trash(r); len(left) != 0 {
		t.Errorf("the trash has %v", left)
	}
	w.consistent()
	w.Advance(10 * life.Grace)
	w.collect()
	for _, m := range []meta.Manifest{top, middle, leaf} {
		w.complete(r, m.Digest, "config", "layer")
	}

	// Each is as it was: the children stay without the index.
	w.must(w.tryDelete(r, top.Digest))
	w.must(w.tryDelete(r, middle.Digest))
	w.Advance(life.Undelete - time.Second)
	w.collect()
	w.complete(r, leaf.Digest, "config", "layer")
	w.must(w.tryDelete(r, leaf.Digest))
	w.Advance(time.Minute) // too late for the indexes
	w.refused(w.undelete(r, top.Digest), fault.NotFound, fault.ManifestUnknown)
	w.must(w.undelete(r, leaf.Digest))

	// An index whose child is gone for good is refused, and changes nothing.
	top = w.put(r, w.index(leaf), "v2")
	w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: leaf.Digest, By: cause(), Force: true}))
	w.must(w.tryDelete(r, top.Digest))
	w.must(w.undelete(r, top.Digest)) // forced: it lacked the child when it was deleted
	w.must(w.tryDelete(r, top.Digest))
	w.must(w.undelete(r, leaf.Digest))
	w.put(r, w.index(leaf), "v2")
	w.must(w.tryDelete(r, top.Digest))
	w.must(w.tryDelete(r, leaf.Digest))
	w.must(w.SQL.Exec("UPDATE trashed_manifests SET restore_until = deleted_at WHERE CAST(tags AS text) = '[]'"))
	w.collect()
	w.refused(w.undelete(r, top.Digest), fault.NotFound, fault.ManifestBlobUnknown)
	_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: top.Digest})
	w.refused(err, fault.NotFound, fault.ManifestUnknown)
	w.collectAll()
	w.consistent()
}

func testTrashReferrers(t *testing.T, open Open) {
	w := newWorld(t, open)
	r := w.repo("app")
	m := w.pushImage(r, "v1", "config")
	sign := func(of meta.Manifest, content string, tags ...string) meta.Manifest {
		return w.put(r, w.image(descriptor(of), w.push(r, content)), tags...)
	}
	before := sign(m, "before")
	first, second := sign(m, "first", "signature"), sign(m, "second", "taken")
	nested := sign(first, "nested")
	w.must(w.tryDelete(r, before.Digest))
	w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: cause(), Referrers: true}))
	other := w.pushImage(r, "taken", "other")
	w.collect()
	if got := w.trash(r); len(got) != 5 {
		t.Errorf("the trash has %d manifests", len(got))
	}
	w.must(w.undelete(r, m.Digest))
	for _, one := range []meta.Manifest{m, first, second, nested} {
		w.complete(r, one.Digest)
	}
	if got := w.trash(r); len(got) != 1 || got[0] != before.Digest {
		t.Errorf("the trash has %v, want what was deleted by itself", got)
	}
	if w.tagged(r, "signature") != first.Digest || w.tagged(r, "taken") != other.Digest {
		t.Errorf("signature is %q, taken %q", w.tagged(r, "signature"), w.tagged(r, "taken"))
	}
	w.consistent()
}

// testTrashFollows has an undelete of a referrer meet the deletion of its subject: before it, and
// at the same time.
func testTrashFollows(t *testing.T, open Open) {
	w := newWorld(t, open)
	r := w.repo("app")
	m := w.pushImage(r, "v1", "config")
	signature := w.image(descriptor(m), w.push(r, "signature"))
	w.put(r, signature, "signed")
	remove := func() error {
		return w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: cause(), Referrers: true})
	}
	w.must(remove())
	// A step of the undelete of its subject, which another one has deleted again.
	follows := signature
	follows.Repo, follows.By, follows.Undelete, follows.Follows = r, cause(), true, m.Digest
	w.refused(w.Store.PutManifest(t.Context(), follows), fault.NotFound, fault.ManifestUnknown)
	w.missing(r, signature.Manifest.Digest)
	for range 8 {
		w.must(w.undelete(r, m.Digest))
		w.complete(r, signature.Manifest.Digest, "signature")
		together(
			func() { w.fine(remove()) },
			func() { ignore(t, w.undelete(r, m.Digest), fault.ManifestUnknown) },
		)
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: m.Digest})
		if fault.KindOf(err) == fault.NotFound {
			w.missing(r, signature.Manifest.Digest)
		} else {
			w.must(err)
			w.complete(r, signature.Manifest.Digest, "signature")
			w.must(remove())
		}
		w.consistent()
	}
}
