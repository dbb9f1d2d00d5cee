package metatest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// adoptionPlay is the push of an index to dev whose images prod and the cache
// have, by the steps of the registry service.
type adoptionPlay struct {
	adopter
	hosted, cached meta.ManifestPut // the images
	index          meta.ManifestPut
}

// play begins one in a tenant of its own.
func (w world) play() adoptionPlay {
	w.t.Helper()
	slug := fmt.Sprintf("play-%d", w.Now().UnixMicro())
	w.Advance(time.Second)
	w.tenant, w.registry = w.addTenant(slug, 0)
	p := adoptionPlay{adopter: w.adopter(slug)}
	p.hosted = p.image(nil, p.push(p.prod, "hosted"), p.push(p.prod, "shared"))
	p.put(p.prod, p.hosted, "v1")
	p.cached = p.image(nil, described("cached"), described("shared"))
	p.fetched(p.cache, p.cached, "v1")
	p.fill(p.cache, "cached")
	p.fill(p.cache, "shared")
	p.index = p.world.index(p.hosted.Manifest, p.cached.Manifest)
	return p
}

// adoptBlobs and adoptManifest are what the service does for one image.
func (p adoptionPlay) adoptBlobs(contents ...string) error {
	missing, err := p.Store.AdoptBlobs(p.t.Context(), cause(), p.from(), p.dev, digestsOf(contents...))
	if err == nil && len(missing) > 0 {
		err = (&meta.Missing{Blobs: missing}).Fault()
	}
	return err
}

func (p adoptionPlay) adoptManifest(m meta.ManifestPut) error {
	found, err := p.Store.FindAdoptable(p.t.Context(), p.from(), m.Manifest.Digest)
	if err != nil {
		return err
	}
	m.Manifest, m.Provisional = found, true
	return p.tryPut(p.dev, m)
}

func (p adoptionPlay) steps() []func() error {
	return []func() error{
		func() error { return p.adoptBlobs("hosted", "shared") },
		func() error { return p.adoptManifest(p.hosted) },
		func() error { return p.adoptBlobs("cached") },
		func() error { return p.adoptManifest(p.cached) },
		func() error { return p.tryPut(p.dev, p.index, "v1") },
	}
}

// pushIndex runs the steps, before each of which between may do what it likes.
func (p adoptionPlay) pushIndex(between func(step int)) error {
	for i, step := range p.steps() {
		between(i)
		if err := step(); err != nil {
			return err
		}
	}
	between(len(p.steps()))
	return nil
}

// outcome fails the test unless what was acknowledged is whole, without the others
// and for good, and what was refused leaves nothing behind.
func (p adoptionPlay) outcome(err error, deleted bool) {
	p.t.Helper()
	p.consistent()
	if err != nil && fault.KindOf(err) != fault.NotFound {
		p.t.Errorf("refused with %v", err)
	}
	ignore(p.t, p.Store.DeleteRepository(p.t.Context(), cause(), p.prod), fault.NameUnknown)
	u, found := p.Store.FindUpstream(p.t.Context(), p.tenant, "ghcr")
	p.must(found)
	_, err2 := p.Store.UpdateUpstream(p.t.Context(), cause(), u, true)
	p.must(err2)
	p.collectAll()
	p.consistent()
	switch {
	case deleted:
	case err == nil:
		for _, m := range []meta.ManifestPut{p.hosted, p.cached, p.index} {
			p.there(p.dev, m)
		}
		p.holds(p.dev, "hosted", "cached", "shared")
		if p.tagged(p.dev, "v1") != p.index.Manifest.Digest {
			p.t.Error("the tag is gone")
		}
	default:
		for _, m := range []meta.ManifestPut{p.hosted, p.cached, p.index} {
			if _, err := p.Store.FindManifest(p.t.Context(), p.dev, oci.Reference{Digest: m.Manifest.Digest}); fault.KindOf(err) != fault.NotFound {
				p.t.Errorf("%s is left: %v", m.Manifest.Digest, err)
			}
		}
	}
	ignore(p.t, p.Store.DeleteRepository(p.t.Context(), cause(), p.dev), fault.NameUnknown)
	p.collectAll()
	if len(p.objects()) != 0 || p.used(p.slug) != 0 {
		p.t.Errorf("charged %d, objects %v", p.used(p.slug), p.objects())
	}
	p.consistent()
}

// disturbances are what others do while an adoption is running.
func disturbances() map[string]func(p adoptionPlay) {
	return map[string]func(p adoptionPlay){
		"a collection":            func(p adoptionPlay) { p.fine(p.tryCollect()) },
		"a late collection":       func(p adoptionPlay) { p.Advance(meta.DefaultLifetimes.Grace + time.Second); p.fine(p.tryCollect()) },
		"the end of what is kept": func(p adoptionPlay) { p.Advance(keep + time.Second); p.fine(p.tryCollect()) },
		"a trim": func(p adoptionPlay) {
			_, err := p.Store.TrimCached(p.t.Context(), 0, 10)
			p.fine(err)
			p.fine(p.tryCollect())
		},
		"an eviction": func(p adoptionPlay) {
			u, err := p.Store.FindUpstream(p.t.Context(), p.tenant, "ghcr")
			p.fine(err)
			u.Settings.MaxBytes = 1
			_, err = p.Store.UpdateUpstream(p.t.Context(), cause(), u, false)
			p.fine(err)
			_, err = p.Store.EvictCached(p.t.Context(), 10)
			p.fine(err)
			p.Advance(time.Second)
			p.fine(p.tryCollect())
		},
		"a renewal of the upstream": func(p adoptionPlay) {
			u, err := p.Store.FindUpstream(p.t.Context(), p.tenant, "ghcr")
			p.fine(err)
			_, err = p.Store.UpdateUpstream(p.t.Context(), cause(), u, true)
			p.fine(err)
			p.fine(p.tryCollect())
		},
		"a purge of the cache": func(p adoptionPlay) {
			ignore(p.t, p.Store.PurgeCached(p.t.Context(), cause(), p.cache, oci.Reference{}), fault.NameUnknown)
			p.fine(p.tryCollect())
		},
		"the deletion of the source": func(p adoptionPlay) {
			ignore(p.t, p.Store.DeleteRepository(p.t.Context(), cause(), p.prod), fault.NameUnknown)
			p.fine(p.tryCollect())
		},
		"the deletion of the source's image": func(p adoptionPlay) {
			ignore(p.t, p.tryDelete(p.prod, p.hosted.Manifest.Digest), fault.ManifestUnknown, fault.NameUnknown)
			for _, c := range []string{"hosted", "shared"} {
				ignore(p.t, p.Store.DeleteBlob(p.t.Context(), cause(), p.prod, digestOf(c)), fault.BlobUnknown)
			}
			p.fine(p.tryCollect())
		},
		"the deletion of a blob that was linked": func(p adoptionPlay) {
			ignore(p.t, p.Store.DeleteBlob(p.t.Context(), cause(), p.dev, digestOf("shared")), fault.BlobUnknown, fault.UnsupportedReason)
			p.fine(p.tryCollect())
		},
		"the loss of bytes": func(p adoptionPlay) {
			if b, err := p.Store.FindBlob(p.t.Context(), p.prod, digestOf("shared")); err == nil {
				p.fine(p.Store.MarkSuspect(p.t.Context(), b))
			}
		},
		"the deletion of the target": func(p adoptionPlay) {
			ignore(p.t, p.Store.DeleteRepository(p.t.Context(), cause(), p.dev), fault.NameUnknown)
			p.fine(p.tryCollect())
		},
		"the deletion of the member": func(p adoptionPlay) {
			ignore(p.t, p.Store.DeleteRegistry(p.t.Context(), cause(), p.tenant, "prod", 0, true), fault.ResourceUnknown)
			p.fine(p.tryCollect())
		},
		"the deletion of a child that was put": func(p adoptionPlay) {
			ignore(p.t, p.tryDelete(p.dev, p.hosted.Manifest.Digest), fault.ManifestUnknown, fault.NameUnknown, fault.UnsupportedReason)
		},
	}
}

func testAdoptionRaces(t *testing.T, open Open) {
	// Every disturbance before every step; before some of them in the common run.
	const steps = 6
	chance := rand.New(rand.NewPCG(dice.Seed(t), 0))
	some := dice.Count(t, 2, steps)
	for what, disturb := range disturbances() {
		t.Run("G16 "+what+" between the steps", func(t *testing.T) {
			w := newWorld(t, open)
			for _, at := range chance.Perm(steps)[:some] {
				p := w.play()
				err := p.pushIndex(func(step int) {
					if step == at {
						disturb(p)
					}
				})
				// What is deleted after the acknowledgement is deleted.
				deleted := err == nil && at == steps-1 && what == "the deletion of the target"
				p.outcome(err, deleted)
				if t.Failed() {
					t.Fatalf("broken by %s before step %d, which ended with %v", what, at, err)
				}
			}
		})
	}
	// And all of them at any time, beside two adoptions of the same.
	t.Run("G16 everything at once", func(t *testing.T) {
		w := newWorld(t, open)
		for round := range dice.Count(t, 1, 4) {
			for _, what := range []string{"a collection", "the deletion of the source's image", "the deletion of the source", "a purge of the cache", "a renewal of the upstream"} {
				p := w.play()
				var errs [2]error
				fs := times(2, func(i int) { errs[i] = p.pushIndex(func(int) {}) })
				fs = append(fs, func() { disturbances()[what](p) }, func() { p.fine(p.tryCollect()) })
				together(fs...)
				err := errs[0]
				if err != nil && errs[1] == nil {
					err = nil
				}
				if err != nil && fault.KindOf(err) != fault.NotFound {
					t.Errorf("%v", err)
				}
				p.outcome(err, false)
				if t.Failed() {
					t.Fatalf("broken by %s in round %d: %v", what, round, errs)
				}
			}
		}
	})
	t.Run("G16 the end of a provisional manifest against an index that names it", func(t *testing.T) {
		w := newWorld(t, open)
		r := w.repo("app")
		for i, content := range numbered("config %d", 20) {
			children := []meta.ManifestPut{w.image(nil, w.push(r, content)), w.image(nil, w.push(r, content+" too"))}
			for _, c := range children {
				w.putProvisional(r, c)
			}
			w.Advance(meta.DefaultLifetimes.Grace + time.Second)
			tags := []string{fmt.Sprint("a", i), fmt.Sprint("b", i)}
			indexes := []meta.ManifestPut{w.index(children[0].Manifest, children[1].Manifest), w.index(children[1].Manifest, children[0].Manifest)}
			var errs [2]error
			fs := times(2, func(i int) { errs[i] = w.tryPut(r, indexes[i], tags[i]) })
			together(append(fs, func() { w.fine(w.tryCollect()) }, func() { w.fine(w.tryCollect()) })...)
			w.collect()
			for j, err := range errs {
				ignore(t, err, fault.ManifestBlobUnknown)
				if err != nil {
					continue
				}
				for _, m := range append(children, indexes[j]) {
					w.there(r, m)
				}
			}
		}
		w.consistent()
	})
}
