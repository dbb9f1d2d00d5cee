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

func testDeletedRepositoryQuota(t *testing.T, open Open) {
	const layer = 100_000
	full := func(t *testing.T) (world, meta.Repo, meta.Manifest) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", layer+50_000)
		r := w.repo("app")
		return w, r, w.pushImage(r, "v1", "config", large("a", layer))
	}
	t.Run("W28 a tenant at its quota can delete a repository, push and delete again", func(t *testing.T) {
		w, r, _ := full(t)
		_, err := w.tryPush(r, large("b", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.deleteRepo(r)
		w.consistent()
		w.pushImage(r, "v1", "config", large("b", layer))
		w.consistent()
		w.deleteRepo(r)
		// Nothing grows beyond twice the quota.
		_, err = w.tryPush(r, large("c", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.collectAll()
		w.pushImage(r, "v1", "config", large("c", layer))
		w.consistent()
	})
	t.Run("W28 one that gave way does not come back", func(t *testing.T) {
		w, r, _ := full(t)
		w.deleteRepo(r)
		w.pushImage(w.repo("other"), "v1", "config", large("b", layer))
		w.refused(w.restore(r), fault.NotFound, fault.NameUnknown)
		w.collectAll()
		w.consistent()
	})
	t.Run("W28 a restore has to fit into the quota", func(t *testing.T) {
		w, r, first := full(t)
		w.deleteRepo(r)
		w.must(w.restore(r))
		w.deleteRepo(r)
		w.limit("small", layer)
		w.refused(w.restore(r), fault.Denied, fault.QuotaExceeded)
		w.names(nil, "", 9)
		w.limit("small", 2*layer)
		w.must(w.restore(r))
		w.complete(r, first.Digest, "config", large("a", layer))
		_, err := w.tryPush(r, large("b", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.consistent()
	})
	t.Run("W28 what another repository holds is live", func(t *testing.T) {
		w, r, _ := full(t)
		_, err := w.Store.MountBlob(t.Context(), cause(), r, w.repo("other"), digestOf(large("a", layer)))
		w.must(err)
		w.deleteRepo(r)
		_, err = w.tryPush(w.repo("other"), large("b", layer))
		w.refused(err, fault.Denied, fault.QuotaExceeded)
		w.must(w.restore(r))
		w.consistent()
	})
	t.Run("W28 the oldest gives way first, repositories and manifests alike", func(t *testing.T) {
		w := newWorld(t, open)
		w.tenant, w.registry = w.addTenant("small", 10*layer)
		trash := w.repo("trash")
		images := map[int]oci.Digest{}
		for i := range 6 {
			if i%2 == 0 {
				m := w.pushImage(trash, fmt.Sprintf("v%d", i), large(fmt.Sprint(i), layer))
				images[i] = m.Digest
				w.must(w.tryDelete(trash, m.Digest))
			} else {
				r := w.repo(fmt.Sprintf("r%d", i))
				images[i] = w.pushImage(r, "v", large(fmt.Sprint(i), layer)).Digest
				w.deleteRepo(r)
			}
			w.Advance(time.Minute)
		}
		w.pushImage(w.repo("new"), "new", large("n", 6*layer))
		var left []string
		for _, d := range w.deletedRepos() {
			left = append(left, d.Name)
		}
		for i := range images {
			if i%2 == 0 && slices.Contains(w.trash(trash), images[i]) {
				left = append(left, fmt.Sprintf("r%d", i))
			}
		}
		slices.Sort(left)
		if !slices.Equal(left, []string{"r3", "r4", "r5"}) {
			t.Errorf("%q are left", left)
		}
		w.must(w.restore(w.repo("r5")))
		w.must(w.restore(w.repo("r3")))
		w.must(w.undelete(trash, images[4]))
		w.consistent()
		w.collectAll()
		w.consistent()
	})
}
