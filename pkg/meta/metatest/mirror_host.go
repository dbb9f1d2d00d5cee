package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testMirrorHosts(t *testing.T, open Open) {
	t.Run("V60 belong to one tenant, and change if no one else changed them", func(t *testing.T) { mirrorHostChanges(newWorld(t, open)) })
	t.Run("V60 name only what the tenant has, which stays meanwhile", func(t *testing.T) { mirrorHostNames(newWorld(t, open)) })
	t.Run("V61 lead to their target until they end", func(t *testing.T) { mirrorHostSites(newWorld(t, open)) })
	t.Run("V68 count uses by hour, and first uses by address", func(t *testing.T) { mirrorHostUses(newWorld(t, open)) })
}

// mirrorLabel is a label for tests, and mirrorName its name for an hour.
func mirrorLabel(c byte) string { return "m-" + string(slices.Repeat([]byte{c}, 32)) }

func (w world) mirrorName(c byte, life time.Duration) meta.MirrorName {
	return meta.MirrorName{Hash: tenant.MirrorHash(mirrorLabel(c)), ExpiresAt: w.Now().Add(life)}
}

func (w world) addMirrorHost(slug string, c byte) meta.MirrorHost {
	w.t.Helper()
	h := meta.MirrorHost{Tenant: w.tenant, Slug: slug, Registry: tenant.MainRegistry, Upstream: "hub", Networks: "10.0.0.0/8,2001:db8::/32"}
	made, err := w.Store.CreateMirrorHost(w.t.Context(), cause(), h, w.mirrorName(c, time.Hour))
	w.must(err)
	return made
}

func mirrorHostChanges(w world) {
	ctx := w.t.Context()
	other, _ := w.addTenant("other", 0)
	w.addUpstream("hub", meta.UpstreamSettings{})
	by := cause()
	h := meta.MirrorHost{Tenant: w.tenant, Slug: "engines", Registry: tenant.MainRegistry, Upstream: "hub", CachedOnly: true, Networks: "10.0.0.0/8", DisplayName: "E"}
	made, err := w.Store.CreateMirrorHost(ctx, by, h, w.mirrorName('a', time.Hour))
	w.must(err)
	want := h
	want.Version, want.CreatedAt, want.UpdatedAt, want.ExpiresAt = 1, w.Now(), w.Now(), w.Now().Add(time.Hour)
	w.sameMirrorHost(made, want)
	again, err := w.Store.CreateMirrorHost(ctx, by, h, w.mirrorName('b', time.Hour)) // the same request again
	w.must(err)
	w.sameMirrorHost(again, made)
	_, err = w.Store.CreateMirrorHost(ctx, cause(), h, w.mirrorName('b', time.Hour))
	w.refused(err, fault.Conflict, fault.AlreadyExists)
	_, err = w.Store.FindMirrorHost(ctx, other, "engines")
	w.refused(err, fault.NotFound, fault.ResourceUnknown)
	w.refused(w.Store.DeleteMirrorHost(ctx, cause(), other, "engines", 0), fault.NotFound, fault.ResourceUnknown)

	w.Advance(time.Minute)
	change := made
	change.CachedOnly, change.Networks, change.DisplayName = false, "", "Engines"
	after, err := w.Store.UpdateMirrorHost(ctx, cause(), change)
	w.must(err)
	want = change
	want.Version, want.UpdatedAt = 2, w.Now()
	w.sameMirrorHost(after, want)
	_, err = w.Store.UpdateMirrorHost(ctx, cause(), change)
	w.refused(err, fault.Conflict, fault.EtagMismatch)
	_, err = w.Store.RotateMirrorHost(ctx, cause(), w.tenant, "engines", 1, w.mirrorName('c', time.Hour), w.Now())
	w.refused(err, fault.Conflict, fault.EtagMismatch)
	w.addMirrorHost("others", 'd')
	rest, err := w.Store.ListMirrorHosts(ctx, w.tenant, meta.Page{After: "engines", Size: 9})
	if err != nil || len(rest) != 1 || rest[0].Slug != "others" {
		w.t.Errorf("after engines: %+v, %v", rest, err)
	}
	w.must(w.Store.DeleteMirrorHost(ctx, cause(), w.tenant, "engines", 2))
	w.refused(w.Store.DeleteMirrorHost(ctx, cause(), w.tenant, "engines", 0), fault.NotFound, fault.ResourceUnknown)
}

func mirrorHostNames(w world) {
	ctx := w.t.Context()
	for field, h := range map[string]meta.MirrorHost{
		"registry":       {Registry: "nowhere", Upstream: "hub"},
		"upstream":       {Registry: tenant.MainRegistry, Upstream: "nowhere"},
		"upstream_group": {Registry: tenant.MainRegistry, Group: "nowhere"},
	} {
		w.ensureUpstream("hub")
		h.Tenant, h.Slug = w.tenant, "engines"
		_, err := w.Store.CreateMirrorHost(ctx, cause(), h, w.mirrorName('a', time.Hour))
		w.refused(err, fault.Invalid, fault.ResourceUnknown)
		if got := fault.From(err).Field; got != field {
			w.t.Errorf("field %q, want %q", got, field)
		}
	}
	w.addRegistry("dev")
	w.addGroup("chain")
	h := w.addMirrorHost("engines", 'a')
	w.refused(w.Store.DeleteUpstream(ctx, cause(), w.tenant, "hub", 0), fault.Conflict, fault.InUse)
	h.Registry, h.Upstream, h.Group = "dev", "", "chain"
	_, err := w.Store.UpdateMirrorHost(ctx, cause(), h)
	w.must(err)
	w.must(w.Store.DeleteUpstream(ctx, cause(), w.tenant, "hub", 0))
	w.refused(w.Store.DeleteGroup(ctx, cause(), w.tenant, "chain", 0), fault.Conflict, fault.InUse)
	w.refused(w.Store.DeleteRegistry(ctx, cause(), w.tenant, "dev", 0, true), fault.Conflict, fault.InUse)
	w.must(w.Store.DeleteTenant(ctx, cause(), "acme", 0, true))
	w.nowhere(tenant.Lookup{Host: "h", Mirror: tenant.MirrorHash(mirrorLabel('a'))})
	w.purge()
	left, err := w.Store.ListMirrorHosts(ctx, w.tenant, meta.Page{Size: 9})
	if err != nil || len(left) != 0 {
		w.t.Errorf("left: %+v, %v", left, err)
	}
	w.consistent()
}

func (w world) ensureUpstream(slug string) {
	if _, err := w.Store.FindUpstream(w.t.Context(), w.tenant, slug); fault.Is(err, fault.ResourceUnknown) {
		w.addUpstream(slug, meta.UpstreamSettings{})
	}
}

func mirrorHostSites(w world) {
	ctx := w.t.Context()
	w.addUpstream("hub", meta.UpstreamSettings{})
	lookup := func(c byte) tenant.Lookup {
		return tenant.Lookup{Host: "m-redacted.reg.example", Mirror: tenant.MirrorHash(mirrorLabel(c))}
	}
	r, err := w.Store.FindRegistry(ctx, w.tenant, tenant.MainRegistry)
	w.must(err)
	r.Settings = tenant.Settings{AnonymousPull: true, AnonymousPush: true, RedirectBlobs: true}
	_, err = w.Store.UpdateRegistry(ctx, cause(), r)
	w.must(err)
	h := w.addMirrorHost("engines", 'a')
	want := tenant.Site{
		Host: "m-redacted.reg.example", Tenant: w.tenant, TenantSlug: "acme", Epoch: w.acme().Epoch,
		Registry: r.ID, RegistrySlug: tenant.MainRegistry, Settings: tenant.Settings{RedirectBlobs: true}, // rights are the host's own
		Mirror: tenant.Mirror{Slug: "engines", Upstream: "hub", Networks: h.Networks, Until: h.ExpiresAt},
	}
	w.site(lookup('a'), want)
	w.nowhere(lookup('b'))

	overlap, end := w.Now().Add(10*time.Minute), w.Now().Add(2*time.Hour)
	h, err = w.Store.RotateMirrorHost(ctx, cause(), w.tenant, "engines", h.Version, w.mirrorName('b', 2*time.Hour), overlap)
	w.must(err)
	if !h.ExpiresAt.Equal(end) || !h.OldUntil.Equal(overlap) {
		w.t.Errorf("it ends at %s, the name before at %s; want %s, %s", h.ExpiresAt, h.OldUntil, end, overlap)
	}
	want.Mirror.Until = h.OldUntil
	w.site(lookup('a'), want)
	want.Mirror.Until = h.ExpiresAt
	w.site(lookup('b'), want)
	w.Advance(10 * time.Minute)
	w.nowhere(lookup('a'))
	w.site(lookup('b'), want)

	_, err = w.Store.RotateMirrorHost(ctx, cause(), w.tenant, "engines", 0, w.mirrorName('c', time.Hour), w.Now().Add(24*time.Hour))
	w.must(err)
	w.site(lookup('b'), want) // not longer than before
	_, err = w.Store.RotateMirrorHost(ctx, cause(), w.tenant, "engines", 0, w.mirrorName('d', time.Hour), w.Now().Add(time.Hour))
	w.must(err)
	w.nowhere(lookup('b'))
	w.must(w.Store.DeleteMirrorHost(ctx, cause(), w.tenant, "engines", 0))
	w.nowhere(lookup('c'))
	w.nowhere(lookup('d'))
}

func (w world) sameMirrorHost(got, want meta.MirrorHost) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) || !got.ExpiresAt.Equal(want.ExpiresAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt, got.ExpiresAt = want.CreatedAt, want.UpdatedAt, want.ExpiresAt
	if got != want {
		w.t.Errorf("mirror host is\n%+v, want\n%+v", got, want)
	}
}
