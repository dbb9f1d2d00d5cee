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

// promotion is an image in prod with a companion, put provisionally into app.
type promotion struct {
	world
	r                meta.Repo
	image, companion meta.ManifestPut
}

func newPromotion(t *testing.T, open Open) promotion {
	t.Helper()
	w := newWorld(t, open)
	p := promotion{world: w, r: w.repo("app")}
	p.image = w.image(nil, w.push(p.r, "config"))
	subject := oci.Descriptor{Digest: p.image.Manifest.Digest, Size: int64(len(p.image.Manifest.Payload)), MediaType: p.image.Manifest.MediaType}
	p.companion = w.image(&subject, w.push(p.r, "signature"))
	w.putProvisional(p.r, p.companion)
	w.putProvisional(p.r, p.image)
	return p
}

// promote is the last transaction of a promotion.
func (p promotion) promote(tag string, requires ...oci.Digest) error {
	put := p.image
	put.Repo, put.Tags, put.Verb, put.Requires = p.r, []string{tag}, meta.TagPromoted, requires
	put.By = cause()
	put.By.Changes = []meta.Change{{Field: "source", New: "registries/dev/repositories/app"}}
	return p.Store.PutManifest(p.t.Context(), put)
}

func testPromotion(t *testing.T, open Open) {
	t.Run("W150 a tag is not there without all that it requires", func(t *testing.T) {
		p := newPromotion(t, open)
		p.must(p.tryDelete(p.r, p.companion.Manifest.Digest))
		before := len(p.events("", 100))
		err := p.promote("v1", p.companion.Manifest.Digest, p.image.Manifest.Digest)
		p.refused(err, fault.NotFound, fault.ManifestBlobUnknown)
		p.detail(err, p.companion.Manifest.Digest)
		p.untagged("v1")
		if n := len(p.events("", 100)); n != before {
			t.Errorf("%d events, %d before", n, before)
		}
		p.consistent()
		p.putProvisional(p.r, p.companion) // from the trash, too
		p.must(p.promote("v1", p.companion.Manifest.Digest, p.image.Manifest.Digest))
		if trash, err := p.Store.ListTrash(t.Context(), p.r, meta.Page{Size: 10}); err != nil || len(trash) > 0 {
			t.Errorf("%v, %v", trash, err)
		}
		p.consistent()
	})
	t.Run("W150 what it requires stays, and what was not finished goes", func(t *testing.T) {
		p := newPromotion(t, open)
		left := p.another("left")
		p.putProvisional(p.r, left)
		p.Advance(time.Hour)
		p.must(p.promote("v1", p.companion.Manifest.Digest))
		p.Advance(meta.DefaultLifetimes.Grace + time.Hour)
		for range 3 {
			p.collectAll()
		}
		p.there(p.r, p.image)
		p.there(p.r, p.companion)
		p.holds(p.r, "config", "signature")
		p.gone(p.r, left)
		p.consistent()
	})
	t.Run("W151 history and event say that it was promoted, and from where", func(t *testing.T) {
		p := newPromotion(t, open)
		p.must(p.promote("v1", p.companion.Manifest.Digest))
		p.history(p.r, "v1", meta.TagChange{Verb: meta.TagPromoted, Actor: cause().Actor, Digest: p.image.Manifest.Digest})
		e := p.events("", 1)[0]
		if e.Verb != "manifest.promote" || e.Target != "registries/main/repositories/app:v1@"+p.image.Manifest.Digest.String() {
			t.Errorf("%+v", e)
		}
		changes, err := meta.DecodeChanges(e.Changes)
		p.must(err)
		if !slices.Contains(changes, meta.Change{Field: "source", New: "registries/dev/repositories/app"}) {
			t.Errorf("%+v", changes)
		}
	})
	t.Run("W150 one that is repeated is acknowledged once", func(t *testing.T) {
		p := newPromotion(t, open)
		put := p.image
		put.Repo, put.Tags, put.Verb, put.By = p.r, []string{"v1"}, meta.TagPromoted, meta.Cause{Op: uuid.New(), Actor: "a"}
		put.Requires = []oci.Digest{p.companion.Manifest.Digest}
		p.must(p.Store.PutManifest(t.Context(), put))
		p.must(p.tryDelete(p.r, p.companion.Manifest.Digest))
		p.must(p.Store.PutManifest(t.Context(), put))
		p.consistent()
	})
	t.Run("W157 a tag that must replace another one replaces nothing else", func(t *testing.T) {
		p := newPromotion(t, open)
		first, other := p.another("first"), p.another("other")
		put := func(m meta.ManifestPut, replaces oci.Digest) error {
			m.Replaces = &replaces
			return p.tryPut(p.r, m, "v1")
		}
		p.refused(put(first, other.Manifest.Digest), fault.Conflict, fault.EtagMismatch)
		p.untagged("v1")
		p.must(put(first, ""))
		p.refused(put(other, ""), fault.Conflict, fault.EtagMismatch)
		p.must(put(other, first.Manifest.Digest))
		p.must(put(other, other.Manifest.Digest))
		if got := p.tagged(p.r, "v1"); got != other.Manifest.Digest {
			t.Errorf("v1 is %s", got)
		}
		p.consistent()
	})
	t.Run("W161 gates that were changed meanwhile refuse the tag", func(t *testing.T) {
		p := newPromotion(t, open)
		put := func(gates ...meta.GateVersion) error {
			m := p.image
			m.Verb, m.Gates = meta.TagPromoted, (*meta.GateVersions)(&gates)
			return p.tryPut(p.r, m, "v1")
		}
		g := p.addPromotionGate(p.gate("aged"))
		disabled := p.gate("idle")
		disabled.Disabled = true
		p.addPromotionGate(disabled)
		p.refused(put(), fault.Conflict, fault.EtagMismatch)
		p.untagged("v1")
		asked := func(g meta.PromotionGate) meta.GateVersion {
			return meta.GateVersion{Slug: g.Slug, CreatedAt: g.CreatedAt, Version: g.Version}
		}
		p.must(put(asked(g)))
		g, err := p.Store.UpdatePromotionGate(t.Context(), cause(), g)
		p.must(err)
		before := asked(g)
		before.Version--
		p.refused(put(before), fault.Conflict, fault.EtagMismatch)
		p.must(p.Store.DeletePromotionGate(t.Context(), cause(), p.tenant, "aged", 0))
		p.Advance(time.Second)
		again := p.addPromotionGate(p.gate("aged"))
		p.refused(put(before), fault.Conflict, fault.EtagMismatch)
		p.must(put(asked(again)))
		p.must(p.Store.DeletePromotionGate(t.Context(), cause(), p.tenant, "aged", 0))
		p.must(put())
		other, registry := p.addTenant("other", 0)
		g = p.gate("theirs")
		g.Tenant = other
		p.addPromotionGate(g)
		p.must(put())
		p.must(p.tryPut(meta.Repo{Tenant: other, Registry: registry, Name: "app"}, p.world.index(), "v1")) // a push asks no gate
	})
	t.Run("W162 who put a manifest, and when, is known", func(t *testing.T) {
		a := newAdopter(t, open)
		first := a.image(nil, a.push(a.prod, "config"))
		put := func(actor string) {
			m := first
			m.Repo, m.By = a.prod, meta.Cause{Op: uuid.New(), Actor: actor}
			a.must(a.Store.PutManifest(t.Context(), m))
		}
		at := a.Now()
		put("users/alice")
		a.Advance(time.Hour)
		put("users/bob")
		got, err := a.Store.FindPush(t.Context(), a.prod, first.Manifest.Digest)
		a.must(err)
		if got.Actor != "users/alice" || !got.At.Equal(at) || !got.Now.Equal(a.Now()) {
			t.Errorf("%+v, want alice at %v, at %v", got, at, a.Now())
		}
		cached := a.image(nil, described("cached"))
		a.fetched(a.cache, cached, "v1")
		got, err = a.Store.FindPush(t.Context(), a.cache, cached.Manifest.Digest)
		a.must(err)
		if got.Actor != "" || !got.At.Equal(a.Now()) {
			t.Errorf("%+v", got)
		}
		_, err = a.Store.FindPush(t.Context(), a.dev, first.Manifest.Digest)
		a.refused(err, fault.NotFound, fault.ManifestUnknown)
	})
	t.Run("W162 a copy is still of who pushed it, and of no one else", func(t *testing.T) {
		p := newPromotion(t, open)
		pushedBy := func(m meta.ManifestPut, want string) {
			t.Helper()
			got, err := p.Store.FindPush(t.Context(), p.r, m.Manifest.Digest)
			p.must(err)
			if got.Actor != want {
				t.Errorf("pushed by %q, want %q", got.Actor, want)
			}
		}
		_, err := p.Store.FindPush(t.Context(), p.r, p.image.Manifest.Digest)
		p.refused(err, fault.NotFound, fault.ManifestUnknown) // it is provisional
		by, unknown := "users/alice", ""
		for _, provisional := range []bool{true, false} {
			copied, foreign := p.another(fmt.Sprint("copied ", provisional)), p.another(fmt.Sprint("foreign ", provisional))
			copied.PushedBy, foreign.PushedBy = &by, &unknown
			copied.Provisional, foreign.Provisional = provisional, provisional
			for _, m := range []meta.ManifestPut{copied, foreign} {
				p.must(p.tryPut(p.r, m))
				m.Provisional, m.PushedBy = false, nil
				p.must(p.tryPut(p.r, m))
			}
			pushedBy(copied, "users/alice")
			pushedBy(foreign, "")
			p.must(p.tryDelete(p.r, copied.Manifest.Digest))
			p.must(p.undelete(p.r, copied.Manifest.Digest))
			pushedBy(copied, "")
			p.must(p.tryDelete(p.r, copied.Manifest.Digest))
			copied.Provisional, copied.PushedBy = false, nil
			p.must(p.tryPut(p.r, copied))
			pushedBy(copied, cause().Actor)
		}
		p.consistent()
	})
	t.Run("W152 only content that a repository holds is found for it", func(t *testing.T) {
		a := newAdopter(t, open)
		a.push(a.prod, "hosted")
		a.fetched(a.cache, a.image(nil, described("cached")), "v1")
		a.fill(a.cache, "cached")
		a.push(a.repo("elsewhere"), "elsewhere")
		a.damaged(a.push(a.prod, "suspect"))
		a.found([]string{"hosted", "cached"}, a.from(), "hosted", "cached", "suspect", "elsewhere", "nowhere")
		a.found(nil, nil, "hosted")
		a.found(nil, []meta.Repo{{Tenant: a.tenant, Registry: a.prod.Registry, Name: "missing"}}, "hosted")
		other, registry := a.addTenant("other", 0)
		a.found(nil, []meta.Repo{{Tenant: other, Registry: registry, Name: "app"}, {Tenant: other, Registry: a.prod.Registry, Name: "app"}}, "hosted")
	})
}

// another is another image.
func (p promotion) another(content string) meta.ManifestPut {
	return p.world.image(nil, p.push(p.r, content))
}

func (p promotion) untagged(tag string) {
	p.t.Helper()
	_, err := p.Store.FindManifest(p.t.Context(), p.r, oci.Reference{Tag: tag})
	p.refused(err, fault.NotFound, fault.ManifestUnknown)
}

func (a adopter) damaged(b meta.Blob) {
	a.t.Helper()
	a.must(a.Store.MarkSuspect(a.t.Context(), b))
}

// found compares what FindHeld finds of the contents.
func (a adopter) found(want []string, from []meta.Repo, contents ...string) {
	a.t.Helper()
	got, err := a.Store.FindHeld(a.t.Context(), from, digestsOf(contents...))
	a.must(err)
	expected := digestsOf(want...)
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		a.t.Errorf("found %v, want %q", got, want)
	}
}
