package metatest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

func (w world) deleteRepo(r meta.Repo) {
	w.t.Helper()
	w.must(w.Store.DeleteRepository(w.t.Context(), cause(), r))
}

// restore restores the repository of that name that was deleted last.
func (w world) restore(r meta.Repo) error {
	return w.Store.UndeleteRepository(w.t.Context(), meta.RepositoryUndelete{Repo: r, By: cause()})
}

// deletedRepos are those that can be restored, read in pages of two.
func (w world) deletedRepos() []meta.DeletedRepository {
	w.t.Helper()
	var all []meta.DeletedRepository
	for b := (meta.Between[string]{Before: meta.LastName, Size: 2}); ; {
		page, err := w.Store.DeletedBetween(w.t.Context(), w.tenant, w.registry, b)
		w.must(err)
		if all = append(all, page...); len(page) < 2 {
			return all
		}
		b = b.Past(page[1].Key())
	}
}

func testDeletedRepositories(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	t.Run("W26 come back whole", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("team/app")
		image := w.pushImage(r, "v1", "config", "layer")
		gone := w.pushImage(r, "v2", "config", "other layer")
		w.must(w.tryDelete(r, gone.Digest))
		session := w.stage(r, "unfinished")
		w.deleteRepo(r)
		deleted := w.Now()
		w.names(nil, "", 10)
		want := meta.DeletedRepository{Name: r.Name, DeletedAt: deleted, ExpireAt: deleted.Add(life.Undelete)}
		found := w.deletedRepos()
		if len(found) == 1 {
			want.ID = found[0].ID
		}
		if len(found) != 1 || found[0] != want {
			t.Fatalf("deleted are %+v, want %+v", found, want)
		}
		w.consistent()
		w.Advance(life.Undelete - time.Minute)
		w.collect()
		w.consistent()

		u := meta.RepositoryUndelete{Repo: r, DeletedAt: deleted, By: cause()}
		dry := u
		dry.By = cause()
		dry.By.ValidateOnly = true
		w.must(w.Store.UndeleteRepository(t.Context(), dry))
		w.names(nil, "", 10)
		w.must(w.Store.UndeleteRepository(t.Context(), u))
		w.must(w.Store.UndeleteRepository(t.Context(), u)) // the same request again
		w.refused(w.restore(r), fault.NotFound, fault.NameUnknown)
		w.names([]string{r.Name}, "", 10)
		if got := w.tagged(r, "v1"); got != image.Digest {
			t.Errorf("v1 is %q", got)
		}
		w.complete(r, image.Digest, "config", "layer")
		if len(w.deletedRepos()) != 0 || !slices.Equal(w.trash(r), []oci.Digest{gone.Digest}) {
			t.Errorf("deleted are %+v, and the trash is %v", w.deletedRepos(), w.trash(r))
		}
		w.must(w.undelete(r, gone.Digest))
		// It revives no upload.
		_, err := w.Store.TakeUpload(t.Context(), r, session.ID, -1)
		w.refused(err, fault.NotFound, fault.BlobUploadUnknown)
		w.pushImage(r, "v3", "config")
		w.collectAll()
		w.complete(r, image.Digest, "config", "layer")
		w.consistent()
	})
	t.Run("W26 are not found by anything else", func(t *testing.T) {
		w := newWorld(t, open)
		r, other := w.repo("app"), w.repo("other")
		w.pushImage(r, "v1", "config", "layer")
		w.pushImage(other, "v1", "config")
		w.deleteRepo(r)
		_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Tag: "v1"})
		w.refused(err, fault.NotFound, fault.NameUnknown)
		_, err = w.Store.FindBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.CheckBlob(t.Context(), r, digestOf("layer"))
		w.refused(err, fault.NotFound, fault.BlobUnknown)
		_, err = w.Store.MountBlob(t.Context(), cause(), r, other, digestOf("layer"))
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("a mount from it: %v", err)
		}
		missing, err := w.Store.AdoptBlobs(t.Context(), cause(), []meta.Repo{r}, other, []oci.Digest{digestOf("layer")})
		if err != nil || len(missing) != 1 {
			t.Errorf("adopted: missing %v, %v", missing, err)
		}
		sources, err := w.Store.FindSources(t.Context(), w.tenant, digestOf("layer"), 9)
		if err != nil || len(sources) != 0 {
			t.Errorf("sources %v, %v", sources, err)
		}
		_, err = w.Store.ListTrash(t.Context(), r, meta.Page{Size: 1})
		w.refused(err, fault.NotFound, fault.NameUnknown)
		_, err = w.Store.ListTagHistory(t.Context(), r, "v1", meta.Page{Size: 1})
		w.refused(err, fault.NotFound, fault.NameUnknown)
		w.refused(w.Store.DeleteRepository(t.Context(), cause(), r), fault.NotFound, fault.NameUnknown)
		// Its name is claimed, unless that is released. Then an undelete claims it again.
		w.sameClaims([]string{"app", "other in use"}, "", 9)
		w.must(w.Store.ReleaseNameClaim(t.Context(), cause(), r))
		w.must(w.restore(r))
		w.sameClaims([]string{"app in use", "other in use"}, "", 9)
		w.consistent()
	})
	t.Run("W27 a name that is taken", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first := w.pushImage(r, "v1", "first")
		w.deleteRepo(r)
		w.Advance(time.Hour)
		again := func(as string) error {
			return w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, As: as, By: cause()})
		}
		u := w.stage(r, "unfinished")
		w.refused(again(""), fault.Conflict, fault.AlreadyExists)
		w.must(w.Store.CancelUpload(t.Context(), r, u.ID))
		b := w.push(r, "second")
		w.refused(again(""), fault.Conflict, fault.AlreadyExists)
		second := w.put(r, w.image(nil, b), "v1")
		w.refused(again(""), fault.Conflict, fault.AlreadyExists)
		w.refused(again(r.Name), fault.Conflict, fault.AlreadyExists)
		w.must(again("app-old"))
		if old := w.tagged(w.repo("app-old"), "v1"); old != first.Digest || w.tagged(r, "v1") != second.Digest {
			t.Errorf("app-old is %q, app is %q", old, w.tagged(r, "v1"))
		}
		w.names([]string{"app", "app-old"}, "", 9)
		w.sameClaims([]string{"app in use", "app-old in use"}, "", 9)
		w.consistent()
	})
	t.Run("W27 one that holds nothing gives way", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first := w.pushImage(r, "v1", "first")
		w.deleteRepo(r)
		u := w.stage(r, "unfinished") // makes a repository of that name
		w.must(w.Store.CancelUpload(t.Context(), r, u.ID))
		w.must(w.restore(r))
		if got := w.tagged(r, "v1"); got != first.Digest {
			t.Errorf("v1 is %q", got)
		}
		w.collectAll()
		w.complete(r, first.Digest, "first")
		w.consistent()
	})
	t.Run("W27 one that holds only trash gives way, and can itself be restored", func(t *testing.T) {
		w := newWorld(t, open)
		r, other := w.repo("app"), w.repo("other")
		first := w.pushImage(other, "v1", "first")
		second := w.pushImage(r, "v2", "second")
		w.Advance(life.Grace - time.Hour)
		w.deleteRepo(other)
		w.must(w.tryDelete(r, second.Digest))
		as := func(from meta.Repo, name string) error {
			return w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: from, As: name, By: cause()})
		}
		w.refused(as(other, r.Name), fault.Conflict, fault.AlreadyExists) // what a HEAD found stays for a while
		w.Advance(life.HeadGrace + time.Hour)
		w.collect()
		w.must(as(other, r.Name))
		w.names([]string{"app"}, "", 9)
		w.must(as(r, "second"))
		w.names([]string{"app"}, "", 9)
		w.must(w.undelete(w.repo("second"), second.Digest))
		w.names([]string{"app", "second"}, "", 9)
		w.collectAll()
		w.complete(r, first.Digest, "first")
		w.consistent()
	})
	t.Run("W27 several of one name are told by their times", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.pushImage(w.repo("app-x"), "v1", "x")
		w.deleteRepo(w.repo("app-x"))
		var times []time.Time
		var images []oci.Digest
		for i := range 3 {
			w.Advance(time.Minute)
			images = append(images, w.pushImage(r, "v1", fmt.Sprint(i)).Digest)
			w.deleteRepo(r)
			times = append(times, w.Now())
		}
		var listed []string
		for _, d := range w.deletedRepos() {
			listed = append(listed, d.Name+d.DeletedAt.Format(" 04:05"))
		}
		if len(listed) != 4 || listed[3][:5] != "app-x" || !slices.IsSorted(listed[:3]) {
			t.Errorf("deleted are %q", listed)
		}
		w.refused(w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, DeletedAt: times[0].Add(time.Second), By: cause()}), fault.NotFound, fault.NameUnknown)
		for i, as := range []string{"a", "b", ""} {
			w.must(w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, DeletedAt: times[i], As: as, By: cause()}))
		}
		if got := []oci.Digest{w.tagged(w.repo("a"), "v1"), w.tagged(w.repo("b"), "v1"), w.tagged(r, "v1")}; !slices.Equal(got, images) {
			t.Errorf("restored %v, want %v", got, images)
		}
		w.consistent()
	})
	t.Run("W29 end with their time", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.pushImage(r, "v1", "config", "layer")
		w.must(w.tryDelete(r, w.pushImage(r, "v2", "other").Digest))
		w.deleteRepo(r)
		w.push(w.repo("blobs"), "blob")
		w.deleteRepo(w.repo("blobs")) // holds nothing to restore
		if left := w.deletedRepos(); len(left) != 1 {
			t.Errorf("deleted are %+v", left)
		}
		w.Advance(life.Undelete)
		w.refused(w.restore(r), fault.NotFound, fault.NameUnknown)
		if left := w.deletedRepos(); len(left) != 0 {
			t.Errorf("deleted are %+v", left)
		}
		w.consistent()
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("W29 go with their registry, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		dev := w.addRegistry("dev")
		r := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		image := w.pushImage(r, "v1", "config")
		w.deleteRepo(r)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, false))
		w.refused(w.restore(r), fault.NotFound, fault.NameUnknown)
		w.collect()
		_, err := w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		w.must(err)
		w.must(w.restore(r))
		w.complete(r, image.Digest, "config")
		w.deleteRepo(r)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, false))
		w.collectAll()
		if len(w.objects()) != 0 || w.used("acme") != 0 {
			t.Errorf("charged %d, objects %v", w.used("acme"), w.objects())
		}
		w.consistent()
	})
	t.Run("W26 is in the audit log", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.pushImage(r, "v1", "config")
		w.deleteRepo(r)
		w.must(w.Store.CancelUpload(t.Context(), r, w.stage(r, "unfinished").ID))
		by := meta.Cause{Op: uuid.New(), Actor: "serviceAccounts/ci", RequestID: "r"}
		w.must(w.Store.UndeleteRepository(t.Context(), meta.RepositoryUndelete{Repo: r, By: by}))
		events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 2})
		w.must(err)
		var got []string
		for _, e := range events {
			got = append(got, e.Verb+" "+e.Target)
		}
		want := []string{"repository.delete registries/main/repositories/app", "repository.undelete registries/main/repositories/app"}
		if !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}
