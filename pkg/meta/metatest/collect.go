package metatest

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func testCollector(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	t.Run("keeps what a manifest names, for ever", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "layer")
		w.must(w.Store.DeleteTag(t.Context(), cause(), r, "v1"))
		w.push(r, "unnamed")
		w.collectAll()
		w.collectAll()
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: m.Digest})
		w.must(err)
		for _, content := range []string{"config", "layer"} {
			_, err := w.Store.FindBlob(t.Context(), r, digestOf(content))
			w.must(err)
		}
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("unnamed"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		if w.used("acme") != int64(len("configlayer")) || len(w.objects()) != 2 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("takes each step after its wait and not before", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		b := w.push(r, "12345")
		state := func(want byte, when string) {
			t.Helper()
			w.collect()
			if got := w.objects()[b.Key]; got != want {
				t.Fatalf("%s the object is in state %q, want %q", when, got, want)
			}
		}
		w.Advance(life.Grace)
		state('L', "in its grace")
		w.Advance(time.Second)
		w.collect() // unlinked, released at this moment
		w.Advance(time.Second)
		state('D', "after its grace")
		if w.used("acme") != 0 {
			t.Errorf("charged %d", w.used("acme"))
		}
		w.Advance(life.DeleteDelay - time.Second)
		state('D', "in the restore window")
		w.Advance(2 * time.Second)
		state(0, "after the restore window")
		w.consistent()
	})
	t.Run("keeps the blobs of a deleted manifest for a while", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config")
		w.Advance(life.Grace + time.Hour)
		w.collect()
		w.must(w.tryDelete(r, m.Digest))
		w.Advance(life.HeadGrace - time.Second)
		w.collect()
		_, err := w.Store.FindBlob(t.Context(), r, digestOf("config"))
		w.must(err)
		w.consistent()
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("keeps a blob while any repository links it", func(t *testing.T) {
		w := newWorld(t, open)
		b := w.push(w.repo("one"), "12345")
		_, err := w.Store.MountBlob(t.Context(), cause(), w.repo("one"), w.repo("two"), b.Digest)
		w.must(err)
		w.put(w.repo("two"), w.image(nil, b), "v1")
		w.collectAll()
		_, err = w.Store.FindBlob(t.Context(), w.repo("one"), b.Digest)
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.FindBlob(t.Context(), w.repo("two"), b.Digest)
		w.must(err)
		w.consistent()
	})
	t.Run("I4 never revives a condemned object", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		old := w.push(r, "12345")
		w.must(w.Store.DeleteBlob(t.Context(), cause(), r, old.Digest))
		w.Advance(time.Second)
		w.collect()
		again := w.push(r, "12345")
		if again.Key == old.Key || w.objects()[old.Key] != 'D' {
			t.Errorf("pushed again at %s, the old object is in state %q", again.Key, w.objects()[old.Key])
		}
		w.must(w.Store.ForgetObject(t.Context(), again.Key)) // a deleter gone mad
		w.put(r, w.image(nil, again), "v1")
		w.collectAll()
		if w.objects()[again.Key] != 'L' {
			t.Errorf("objects %v", w.objects())
		}
		w.consistent()
	})
	t.Run("hands a condemned object to one deleter at a time", func(t *testing.T) {
		w := newWorld(t, open)
		for _, content := range numbered("blob %d", 5) {
			w.must(w.Store.CancelUpload(t.Context(), w.repo("app"), w.stage(w.repo("app"), content).ID))
		}
		w.Advance(life.StagedDelay + time.Second)
		claim := func(limit, want int) {
			t.Helper()
			due, err := w.Store.ClaimCondemned(t.Context(), limit)
			if err != nil || len(due) != want {
				t.Fatalf("claimed %v, %v; want %d", due, err, want)
			}
		}
		claim(3, 3)
		claim(3, 2)
		claim(3, 0)
		w.Advance(11 * time.Minute) // none was deleted
		claim(9, 5)
		w.consistent()
	})
	t.Run("condemns what no row knows, and only that", func(t *testing.T) {
		w := newWorld(t, open)
		live := w.push(w.repo("app"), "12345")
		staged := w.stage(w.repo("app"), "x")
		unknown := blob.Key{Tenant: int64(w.tenant), Incarnation: uuid.New()}
		_, err := w.Store.FindObject(t.Context(), unknown)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		for _, k := range []blob.Key{live.Key, staged.Stage.Key, unknown, unknown} {
			w.must(w.Store.CondemnUnknown(t.Context(), k))
		}
		states := w.objects()
		if states[live.Key] != 'L' || states[staged.Stage.Key] != 'S' || states[unknown] != 'D' {
			t.Errorf("objects %v", states)
		}
		w.consistent()
	})
	t.Run("I13 finds nothing unmarked", func(t *testing.T) {
		w := newWorld(t, open)
		w.pushImage(w.repo("app"), "v1", "config", "layer")
		w.push(w.repo("app"), "unnamed")
		for range 3 {
			w.Advance(26 * time.Hour)
			w.collect()
			n, err := w.Store.SweepUnmarked(t.Context())
			if err != nil || n != 0 {
				t.Errorf("%d unmarked, %v", n, err)
			}
		}
	})
	t.Run("M6 the bytes that all tenants are charged for", func(t *testing.T) {
		w := newWorld(t, open)
		other, registry := w.addTenant("zenith", 0)
		w.push(w.repo("app"), "a blob")
		w.push(meta.Repo{Tenant: other, Registry: registry, Name: "app"}, "a longer blob")
		var charged int64
		for _, slug := range []string{"acme", "zenith"} {
			owner, err := w.Store.FindTenant(t.Context(), slug)
			w.must(err)
			charged += owner.Used
		}
		stored, err := w.Store.StoredBytes(t.Context())
		if err != nil || stored != charged || stored == 0 {
			t.Errorf("%d bytes, %v, want %d", stored, err, charged)
		}
	})
	t.Run("I3 a store that was stopped for a month is not broken", func(t *testing.T) {
		w := newWorld(t, open)
		w.stage(w.repo("app"), "left")
		w.must(w.Store.CancelUpload(t.Context(), w.repo("app"), w.stage(w.repo("app"), "cancelled").ID))
		w.push(w.repo("app"), "unnamed")
		w.Advance(31 * 24 * time.Hour)
		w.consistent()
	})
}
