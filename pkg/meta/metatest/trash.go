package metatest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// undelete restores a manifest under the tags it had, or those given.
func (w world) undelete(r meta.Repo, d oci.Digest, tags ...string) error {
	return w.Store.UndeleteManifest(w.t.Context(), meta.ManifestUndelete{Repo: r, Digest: d, Tags: tags, By: cause()})
}

// trash is what can be restored in a repository.
func (w world) trash(r meta.Repo) []oci.Digest {
	w.t.Helper()
	var digests []oci.Digest
	for after := ""; ; {
		page, err := w.Store.ListTrash(w.t.Context(), r, meta.Page{After: after, Size: 2})
		w.must(err)
		for _, one := range page {
			digests = append(digests, one.Digest)
		}
		if len(page) < 2 {
			return digests
		}
		after = page[1].Digest.String()
	}
}

// complete fails the test unless the repository has the manifest with these contents.
func (w world) complete(r meta.Repo, d oci.Digest, contents ...string) {
	w.t.Helper()
	if _, err := w.Store.FindManifest(w.t.Context(), r, oci.Reference{Digest: d}); err != nil {
		w.t.Error(err)
	}
	for _, c := range contents {
		if _, err := w.Store.FindBlob(w.t.Context(), r, digestOf(c)); err != nil {
			w.t.Error(err)
		}
	}
}

func testTrash(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	t.Run("W1 a deleted manifest comes back with its tags and bytes", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		w.put(r, w.image(nil, described("config"), described("layer")), "v2")
		w.must(w.tryDelete(r, m.Digest))
		deleted := w.Now()
		page, err := w.Store.ListTrash(t.Context(), r, meta.Page{Size: 10})
		w.must(err)
		want := meta.Trashed{
			Digest: m.Digest, MediaType: m.MediaType, Size: int64(len(m.Payload)), Tags: []string{"v1", "v2"}, Actor: "serviceAccounts/ci",
			DeletedAt: deleted, RestoreUntil: deleted.Add(life.Undelete),
		}
		if len(page) != 1 || fmt.Sprint(page[0]) != fmt.Sprint(want) {
			t.Errorf("the trash is %v, want %v", page, want)
		}
		w.Advance(life.Undelete - time.Second)
		w.collect()
		w.consistent()
		w.must(w.undelete(r, m.Digest))
		w.complete(r, m.Digest, "config", "layer")
		if w.tagged(r, "v1") != m.Digest || w.tagged(r, "v2") != m.Digest || len(w.trash(r)) != 0 {
			t.Errorf("v1 is %q, the trash %v", w.tagged(r, "v1"), w.trash(r))
		}
		if e := w.events("", 1)[0]; e.Verb != "manifest.undelete" {
			t.Errorf("the event is %s", e.Verb)
		}
		w.Advance(10 * life.Undelete)
		w.collect()
		w.consistent()
		w.complete(r, m.Digest, "config", "layer")
	})
	t.Run("W2 nothing else finds what is in the trash", func(t *testing.T) {
		w := newWorld(t, open)
		r, other := w.repo("app"), w.repo("other")
		m := w.pushImage(r, "v1", "config", "layer")
		w.Advance(life.Grace + time.Second)
		w.collect()
		w.must(w.tryDelete(r, m.Digest))
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: m.Digest})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		if tags, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 9}); err != nil || len(tags) != 0 {
			t.Errorf("tags %v, %v", tags, err)
		}
		// A pull in flight ends, and the answer of a HEAD holds.
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		w.must(err)
		w.Advance(life.HeadGrace + time.Second)
		w.collect()
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.CheckBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.MountBlob(t.Context(), cause(), r, other, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		missing, err := w.Store.AdoptBlobs(t.Context(), cause(), []meta.Repo{r}, other, digestsOf("layer"))
		w.must(err)
		if sources, err := w.Store.FindSources(t.Context(), w.tenant, digestOf("layer"), 9); err != nil || len(sources)+len(missing) != 1 {
			t.Errorf("sources %v, %v; not adopted %v", sources, err, missing)
		}
		w.refused(w.Store.DeleteBlob(t.Context(), cause(), r, digestOf("layer")), fault.NotFound, fault.BlobUnknown)
		w.consistent()
		w.must(w.undelete(r, m.Digest))
		w.complete(r, m.Digest, "config", "layer")
	})
	t.Run("W3 only within the window", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.refused(w.undelete(r, digestOf("unknown")), fault.NotFound, fault.ManifestUnknown)
		_, err := w.Store.ListTrash(t.Context(), r, meta.Page{Size: 1})
		w.refused(err, fault.NotFound, fault.NameUnknown)
		m := w.pushImage(r, "v1", "config")
		w.refused(w.undelete(r, m.Digest), fault.NotFound, fault.ManifestUnknown)
		w.must(w.tryDelete(r, m.Digest))
		w.Advance(life.Undelete)
		w.refused(w.undelete(r, m.Digest), fault.NotFound, fault.ManifestUnknown)
		if left := w.trash(r); len(left) != 0 {
			t.Errorf("the trash has %v", left)
		}
		w.collectAll()
		w.consistent()
		if w.used("acme") != 0 || len(w.objects()) != 0 {
			t.Errorf("charged %d when the trash has ended, objects %v", w.used("acme"), w.objects())
		}
	})
	t.Run("W4 a tag that was taken meanwhile is not moved", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config")
		w.must(w.tryDelete(r, m.Digest))
		other := w.pushImage(r, "v1", "other")
		w.refused(w.undelete(r, m.Digest), fault.Conflict, fault.AlreadyExists)
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: m.Digest})
		w.refused(err, fault.NotFound, fault.ManifestUnknown)
		w.must(w.undelete(r, m.Digest, "restored"))
		if w.tagged(r, "restored") != m.Digest || w.tagged(r, "v1") != other.Digest {
			t.Errorf("restored is %q, v1 %q", w.tagged(r, "restored"), w.tagged(r, "v1"))
		}
		w.consistent()
	})
	t.Run("W4 without a tag it takes none, whatever became of those that it had", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config")
		w.put(r, w.image(nil, described("config")), "v2")
		index := w.put(r, w.index(m), "all")
		w.must(w.tryDelete(r, index.Digest))
		w.must(w.tryDelete(r, m.Digest))
		other := w.pushImage(r, "v1", "other")
		untagged := func(d oci.Digest) {
			t.Helper()
			w.must(w.Store.UndeleteManifest(t.Context(), meta.ManifestUndelete{Repo: r, Digest: d, Tags: []string{}, By: cause()}))
			w.consistent()
		}
		untagged(index.Digest) // with its child, which takes none either
		w.complete(r, index.Digest)
		w.complete(r, m.Digest, "config")
		if tags, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 9}); err != nil || !slices.Equal(tags, []string{"v1"}) || w.tagged(r, "v1") != other.Digest {
			t.Errorf("tags %v, v1 at %q, %v", tags, w.tagged(r, "v1"), err)
		}
		w.must(w.Store.DeleteManifest(t.Context(), meta.ManifestDelete{Repo: r, Digest: m.Digest, By: cause(), Force: true}))
		untagged(m.Digest)
		w.Advance(10 * life.Undelete)
		w.collect()
		w.consistent()
		w.complete(r, m.Digest, "config")
	})
	t.Run("W5 a push of the manifest takes it out of the trash", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		w.must(w.tryDelete(r, m.Digest))
		w.Advance(life.HeadGrace + time.Second)
		w.collect()
		w.pushImage(r, "v1", "config", "layer")
		if left := w.trash(r); len(left) != 0 {
			t.Errorf("the trash has %v", left)
		}
		w.consistent()
		w.Advance(10 * life.Grace)
		w.collect()
		w.consistent()
		w.complete(r, m.Digest, "config", "layer")
	})
	t.Run("W5 what another manifest needs again stays, also when the trash ends", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "shared")
		w.must(w.tryDelete(r, m.Digest))
		other := w.image(nil, w.push(r, "other"), described("shared"))
		w.put(r, other, "v2")
		w.consistent()
		w.Advance(10 * life.Grace)
		w.collect()
		w.consistent()
		w.complete(r, other.Manifest.Digest, "other", "shared")
	})
	t.Run("W6 an index comes back with its children", func(t *testing.T) { testTrashIndex(t, open) })
	t.Run("W7 referrers come back with their subject", func(t *testing.T) { testTrashReferrers(t, open) })
	t.Run("W7 a referrer stays in the trash where its subject is gone meanwhile", func(t *testing.T) { testTrashFollows(t, open) })
	t.Run("W8 the same request again takes effect once", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config")
		w.must(w.tryDelete(r, m.Digest))
		u := meta.ManifestUndelete{Repo: r, Digest: m.Digest, By: cause()}
		w.must(w.Store.UndeleteManifest(t.Context(), u))
		w.must(w.Store.UndeleteManifest(t.Context(), u))
		w.must(w.tryDelete(r, m.Digest))
		w.must(w.Store.UndeleteManifest(t.Context(), u))
		if got := w.trash(r); !slices.Equal(got, []oci.Digest{m.Digest}) {
			t.Errorf("the trash has %v", got)
		}
	})
	t.Run("W9 a blob that the trash holds can be deleted, and comes back", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		w.must(w.tryDelete(r, m.Digest))
		w.must(w.Store.DeleteBlob(t.Context(), cause(), r, digestOf("layer")))
		_, err := w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		w.consistent()
		w.Advance(life.Undelete - time.Second)
		w.collect()
		w.must(w.undelete(r, m.Digest))
		w.complete(r, m.Digest, "config", "layer")
		w.consistent()
	})
	t.Run("W9 a push that comes to nothing leaves the trash as it was", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config")
		w.Advance(10 * life.Grace)
		w.must(w.tryDelete(r, m.Digest))
		w.push(r, "config")
		w.Advance(life.Undelete - time.Second)
		w.collect()
		w.consistent()
		w.must(w.undelete(r, m.Digest))
		w.complete(r, m.Digest, "config")
		w.consistent()
	})
}
