package metatest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func testDeletedRepositoryRaces(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	t.Run("W41 a restore against the janitor", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 10 {
			r := w.repo(fmt.Sprintf("app%d", i))
			m := w.pushImage(r, "v1", "config", fmt.Sprint(i))
			w.deleteRepo(r)
			w.Advance(life.Undelete - time.Second)
			var restored error
			together(
				func() { restored = w.restore(r) },
				func() { w.Advance(2 * time.Second); w.fine(w.tryCollect()) },
				func() { w.fine(w.tryCollect()) },
			)
			ignore(t, restored, fault.NameUnknown)
			w.collectAll()
			if restored == nil {
				w.complete(r, m.Digest, "config", fmt.Sprint(i))
			} else if w.tagged(r, "v1") != "" {
				t.Error("it was restored and refused")
			}
		}
		w.consistent()
	})
	t.Run("W41 a restore against pushes to the name", func(t *testing.T) {
		w := newWorld(t, open)
		for i := range 10 {
			r := w.repo(fmt.Sprintf("app%d", i))
			old := w.pushImage(r, "old", "config", fmt.Sprint(i))
			w.deleteRepo(r)
			pushed := w.image(nil, described("pushed"))
			var restored, put error
			together(
				func() { restored = w.restore(r) },
				func() {
					// What was pushed to the one that gave way is not in the one that came back.
					if _, put = w.tryPush(r, "pushed"); put == nil {
						put = w.tryPut(r, pushed, "new")
					}
				},
			)
			ignore(t, restored, fault.AlreadyExists)
			ignore(t, put, fault.ManifestBlobUnknown, fault.BlobUploadUnknown, fault.NameUnknown)
			if restored == nil {
				w.complete(r, old.Digest, "config", fmt.Sprint(i))
			}
			if put == nil {
				w.complete(r, pushed.Manifest.Digest, "pushed")
			}
			if restored != nil && put != nil {
				t.Errorf("neither was done: %v, %v", restored, put)
			}
		}
		w.consistent()
	})
	t.Run("W41 restores of the same, of one name, and deletes", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		for range 10 {
			w.pushImage(r, "v1", "first")
			w.deleteRepo(r)
			first := w.Now()
			w.Advance(time.Second)
			w.pushImage(r, "v1", "second")
			w.deleteRepo(r)
			var done atomic.Int64
			undo := func(at time.Time) func() {
				return func() {
					err := w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, DeletedAt: at, By: cause()})
					ignore(t, err, fault.NameUnknown, fault.AlreadyExists)
					if err == nil {
						done.Add(1)
					}
				}
			}
			together(undo(first), undo(first), undo(w.Now()), undo(time.Time{}))
			if done.Load() != 1 {
				t.Errorf("%d of them were done", done.Load())
			}
			together(undo(first), func() { ignore(t, w.Store.DeleteRepository(t.Context(), cause(), r), fault.NameUnknown) })
			ignore(t, w.Store.DeleteRepository(t.Context(), cause(), r), fault.NameUnknown)
			w.Advance(life.Undelete + time.Second)
			w.collect()
			w.consistent()
		}
	})
}
