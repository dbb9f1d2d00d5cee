package metatest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// purgeDigest purges a digest, by force.
func (w world) purgeDigest(d oci.Digest) meta.PurgeState {
	w.t.Helper()
	state, err := w.tryPurge(d, true)
	w.must(err)
	return state
}

func (w world) tryPurge(d oci.Digest, force bool) (meta.PurgeState, error) {
	return w.Store.PurgeDigest(w.t.Context(), meta.DigestPurge{Tenant: w.tenant, Digest: d, Force: force, By: cause()})
}

// objectOf is the object of a blob.
func (w world) objectOf(r meta.Repo, content string) blob.Key {
	w.t.Helper()
	b, err := w.Store.FindBlob(w.t.Context(), r, digestOf(content))
	w.must(err)
	return b.Key
}

// ended fails the test unless nothing of the tenant has the digest.
func (w world) ended(d oci.Digest) {
	w.t.Helper()
	state, err := w.Store.FindPurge(w.t.Context(), w.tenant, d)
	if err != nil || state.Running || state.Present || len(state.Manifests) > 0 {
		w.t.Errorf("after its purge: %+v, %v", state, err)
	}
	w.consistent()
}

// erased fails the test unless the digest ends, and its bytes go within the short delay.
func (w world) erased(d oci.Digest, objects ...blob.Key) {
	w.t.Helper()
	w.ended(d)
	w.Advance(meta.DefaultLifetimes.Evicted + time.Second)
	w.collect()
	left := w.objects()
	for _, key := range objects {
		if state, there := left[key]; there {
			w.t.Errorf("object %s is in state %c", key, state)
		}
	}
	state, err := w.Store.FindPurge(w.t.Context(), w.tenant, d)
	if err != nil || state.Objects != 0 || !state.DeletedAt.IsZero() {
		w.t.Errorf("when its bytes are gone: %+v, %v", state, err)
	}
	w.consistent()
}

func testDigestPurge(t *testing.T, open Open) {
	life := meta.DefaultLifetimes
	t.Run("W20 a live manifest names it: refused without force, and nothing changes", func(t *testing.T) {
		w := newWorld(t, open)
		r, other := w.repo("app"), w.repo("other")
		m := w.pushImage(r, "v1", "config", "secret")
		w.pushImage(other, "v1", "config", "secret")
		_, err := w.tryPurge(digestOf("secret"), false)
		w.refused(err, fault.Conflict, fault.NotEmpty)
		if text := err.Error(); !strings.Contains(text, "2 live manifests, such as registries/main/repositories/app@"+m.Digest.String()) {
			t.Error(text)
		}
		state, err := w.Store.FindPurge(t.Context(), w.tenant, digestOf("secret"))
		if err != nil || state.Running || !state.Present || len(state.Manifests) != 2 {
			t.Errorf("%+v, %v", state, err)
		}
		places, err := w.Store.ListPurgePlaces(t.Context(), w.tenant, digestOf("secret"))
		if want := []meta.PurgePlace{{Registry: "main", Repository: "app"}, {Registry: "main", Repository: "other"}}; err != nil || !slices.Equal(places, want) {
			t.Errorf("places %v, %v", places, err)
		}
		w.complete(r, m.Digest, "config", "secret")
		w.consistent()
	})
	t.Run("W21 by force it goes everywhere: manifests, tags, history, trash and bytes", func(t *testing.T) {
		w := newWorld(t, open)
		r, other := w.repo("app"), w.repo("other")
		clean := w.pushImage(r, "latest", "config", "clean")
		m := w.pushImage(r, "latest", "config", "secret", "own")
		w.pushImage(r, "v2", "config", "clean")
		w.pushImage(other, "v1", "secret")
		trashed := w.pushImage(other, "old", "config", "secret", "trashed")
		w.must(w.tryDelete(other, trashed.Digest))
		gone := []blob.Key{w.objectOf(r, "secret"), w.objectOf(r, "own"), w.objectOf(other, "trashed")}
		w.push(w.repo("staged"), "secret")

		state := w.purgeDigest(digestOf("secret"))
		if want := w.Now().Add(life.Evicted); state.Objects < 3 || !state.DeletedAt.Equal(want) {
			t.Errorf("%+v, want objects that are due at %s", state, want)
		}
		for _, repo := range []meta.Repo{r, other, w.repo("staged")} {
			_, err := w.Store.FindBlob(t.Context(), repo, digestOf("secret"))
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("the blob: %v", err)
			}
		}
		if got := w.tagged(r, "latest"); got != "" || len(w.trash(other)) != 0 {
			t.Errorf("latest is %q, the trash %v", got, w.trash(other))
		}
		history, err := w.Store.ListTagHistory(t.Context(), r, "latest", meta.Page{Size: 9})
		w.must(err)
		if text := fmt.Sprint(history); strings.Contains(text, string(m.Digest)) || !strings.Contains(text, string(clean.Digest)) || history[0].Digest != "" {
			t.Errorf("the history is %v", history)
		}
		w.complete(r, clean.Digest, "config", "clean")
		w.erased(digestOf("secret"), gone...)
		w.complete(r, clean.Digest, "config", "clean")
		w.refused(w.undelete(other, trashed.Digest), fault.NotFound, fault.ManifestUnknown)

		verbs := map[string]int{}
		for _, e := range w.events("", 30) {
			if strings.HasSuffix(e.Verb, ".purge") {
				verbs[e.Verb]++
			}
		}
		if verbs[meta.DigestPurged] != 1 || verbs[meta.ManifestPurged] != 2 {
			t.Errorf("events %v", verbs)
		}
		w.pushImage(r, "latest", "config", "secret") // a later push is an ordinary one
		w.consistent()
	})
	t.Run("W21 a manifest goes with the indexes above it and what only it named", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		amd := w.pushImage(r, "amd", "config", "amd", "base")
		arm := w.pushImage(r, "arm", "config", "arm", "base")
		top := w.put(r, w.index(w.put(r, w.index(amd, arm)), arm), "all")
		gone := w.objectOf(r, "amd")
		_, err := w.tryPurge(digestOf("amd"), false)
		if text := fmt.Sprint(err); !strings.Contains(text, "3 live manifests") {
			t.Error(text)
		}
		w.purgeDigest(amd.Digest)
		if w.tagged(r, "amd") != "" || w.tagged(r, "all") != "" || w.tagged(r, "arm") != arm.Digest {
			t.Errorf("amd is %q, all %q, arm %q", w.tagged(r, "amd"), w.tagged(r, "all"), w.tagged(r, "arm"))
		}
		w.erased(amd.Digest, gone)
		w.complete(r, arm.Digest, "config", "arm", "base")
		w.ended(top.Digest)
	})
	t.Run("W21 an index in the trash goes with the child that is live, and the other way round", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		child := w.pushImage(r, "child", "config", "secret")
		index := w.put(r, w.index(child), "all")
		w.must(w.tryDelete(r, index.Digest))
		w.purgeDigest(digestOf("secret"))
		if left := w.trash(r); len(left) != 0 {
			t.Errorf("the trash has %v", left)
		}
		w.ended(child.Digest)

		child = w.pushImage(r, "child", "config", "secret")
		index = w.put(r, w.index(child), "all")
		w.must(w.tryDelete(r, index.Digest))
		w.must(w.tryDelete(r, child.Digest))
		state, err := w.tryPurge(child.Digest, false) // the trash needs no force
		if w.must(err); state.Present || len(w.trash(r)) != 0 {
			t.Errorf("%+v, the trash has %v", state, w.trash(r))
		}
		w.ended(child.Digest)
	})
	t.Run("W22 what was condemned before is due as early", func(t *testing.T) {
		w := newWorldWith(t, open, Options{})
		r := w.repo("app")
		m := w.pushImage(r, "v1", "config", "secret")
		key := w.objectOf(r, "secret")
		w.must(w.tryDelete(r, m.Digest))
		for w.objects()[key] == 'L' {
			w.Advance(time.Hour)
			w.collect()
		}
		state, err := w.Store.FindPurge(t.Context(), w.tenant, digestOf("secret"))
		if err != nil || state.Present || state.Objects != 1 || state.DeletedAt.Before(w.Now().Add(life.DeleteDelay/2)) {
			t.Errorf("%+v, %v", state, err)
		}
		if state := w.purgeDigest(digestOf("secret")); !state.DeletedAt.Equal(w.Now().Add(life.Evicted)) {
			t.Errorf("%+v", state)
		}
		w.erased(digestOf("secret"), key)
	})
	t.Run("W22 so are a replaced object, a suspect one, and the second of two pushes", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		first := w.push(r, "secret")
		w.push(r, "secret")
		w.must(w.Store.MarkSuspect(t.Context(), first))
		second := w.push(r, "secret")
		if first.Key == second.Key || len(w.objects()) != 3 {
			t.Fatalf("objects %v", w.objects())
		}
		w.must(w.Store.MarkSuspect(t.Context(), second))
		if state := w.purgeDigest(digestOf("secret")); state.Objects != 3 {
			t.Errorf("%+v", state)
		}
		w.erased(digestOf("secret"), first.Key, second.Key)
		if left := w.objects(); len(left) != 0 {
			t.Errorf("objects %v", left)
		}
	})
	t.Run("W22 an upload that was sealed as it ends", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		u, err := w.Store.SealUpload(t.Context(), w.stage(r, "secret"), digestOf("secret"))
		w.must(err)
		w.purgeDigest(digestOf("secret"))
		_, err = w.Store.CommitUpload(t.Context(), cause(), u, false)
		if err == nil {
			t.Error("the upload was committed")
		}
		w.erased(digestOf("secret"), u.Stage.Key)
	})
	t.Run("W23 it is not another tenant's, and deleted repositories and registries have it too", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		kept := other.pushImage(other.repo("app"), "v1", "config", "secret")
		w.pushImage(w.repo("app"), "v1", "config", "secret")
		key := w.objectOf(w.repo("app"), "secret")
		w.must(w.Store.DeleteRepository(t.Context(), cause(), w.repo("app")))
		state, err := w.tryPurge(digestOf("secret"), false)
		if w.must(err); state.Present {
			t.Errorf("%+v", state)
		}
		w.erased(digestOf("secret"), key)
		other.complete(other.repo("app"), kept.Digest, "config", "secret")
	})
	t.Run("W23 a cache is no reason for force, and loses it", func(t *testing.T) {
		w, r := newCache(t, open)
		image := w.image(nil, w.fill(r, "config"), w.fill(r, "secret"))
		w.fetched(r, image, "v1")
		key := w.objectOf(r, "secret")
		if places, err := w.Store.ListPurgePlaces(t.Context(), w.tenant, digestOf("secret")); err != nil || len(places) > 0 {
			t.Errorf("places %v, %v", places, err)
		}
		state, err := w.tryPurge(digestOf("secret"), false)
		if w.must(err); state.Present {
			t.Errorf("%+v", state)
		}
		w.nothingCached(r, image.Manifest.Digest, "v1", "secret")
		w.erased(digestOf("secret"), key)
	})
	t.Run("W24 the janitor continues what was interrupted anywhere", func(t *testing.T) {
		w := newWorld(t, open)
		r, interrupted := w.repo("app"), 0
		for within := time.Millisecond; ; within += within / 2 {
			secret, config := "secret "+within.String(), "config "+within.String()
			m := w.pushImage(r, "v1", config, secret)
			w.put(r, w.index(m), "all")
			old := w.pushImage(r, "old", config, secret, "old")
			w.must(w.tryDelete(r, old.Digest))
			keys := []blob.Key{w.objectOf(r, secret), w.objectOf(r, config)}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := w.Store.PurgeDigest(ctx, meta.DigestPurge{Tenant: w.tenant, Digest: digestOf(secret), Force: true, By: cause()})
			cancel()
			w.consistent()
			state, found := w.Store.FindPurge(t.Context(), w.tenant, digestOf(secret))
			w.must(found)
			if state.Running {
				interrupted++
			}
			w.collect()
			if state.Running || !state.Present {
				w.erased(digestOf(secret), keys...)
			}
			if err == nil {
				break
			}
		}
		if interrupted == 0 {
			t.Error("it was never interrupted")
		}
	})
	t.Run("W24 the same request again takes effect once, and says when the bytes are gone", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		w.pushImage(r, "v1", "config", "secret")
		p := meta.DigestPurge{Tenant: w.tenant, Digest: digestOf("secret"), Force: true, By: cause()}
		first, err := w.Store.PurgeDigest(t.Context(), p)
		w.must(err)
		m := w.pushImage(r, "v1", "config", "secret")
		again, err := w.Store.PurgeDigest(t.Context(), p)
		if w.must(err); again.Objects != first.Objects || !again.Present {
			t.Errorf("%+v, then %+v", first, again)
		}
		w.complete(r, m.Digest, "config", "secret")
	})
	t.Run("W24 one that fails holds back neither the others nor the end of the trash", func(t *testing.T) { testFailingPurge(t, open) })
	t.Run("W21 a manifest with very many tags loses all of them", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		image := w.image(nil, w.push(r, "secret"))
		for i := range 6 {
			w.put(r, image, numbered(fmt.Sprintf("t%d-%%03d", i), 200)...)
		}
		w.pushImage(r, "kept", "other")
		w.purgeDigest(digestOf("secret"))
		w.erased(digestOf("secret"))
		if left, err := w.Store.ListTags(t.Context(), r, meta.Page{Size: 10}); err != nil || !slices.Equal(left, []string{"kept"}) {
			t.Errorf("left are %v, %v", left, err)
		}
	})
	t.Run("W25 of purges, pushes, deletes and undeletes at once every acknowledged one holds", func(t *testing.T) { testPurgeRaces(t, open) })
}
