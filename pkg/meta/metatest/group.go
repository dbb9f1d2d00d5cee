package metatest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testGroups(t *testing.T, open Open) {
	t.Run("belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		w.addUpstream("ghcr", meta.UpstreamSettings{})
		by, g := cause(), meta.Group{Tenant: w.tenant, Slug: "chain", Members: []meta.Member{
			{Registry: tenant.MainRegistry, Include: []string{"a/**"}, OnOutage: meta.Stop},
			{Upstream: "ghcr", Exclude: []string{"b"}, OnDenied: meta.Continue},
			{Registry: tenant.MainRegistry, Checked: true},
		}}
		made, err := w.Store.CreateGroup(t.Context(), by, g)
		w.must(err)
		want := g
		want.Version, want.CreatedAt, want.UpdatedAt = made.Version, w.Now(), w.Now()
		w.sameGroup(made, want)
		if made.Version == 0 {
			t.Error("no version")
		}
		again, err := w.Store.CreateGroup(t.Context(), by, g) // the same request again
		w.must(err)
		w.sameGroup(again, made)
		_, err = w.Store.CreateGroup(t.Context(), cause(), g)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindGroup(t.Context(), other, "chain")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.UpdateGroup(t.Context(), cause(), meta.Group{Tenant: other, Slug: "chain"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteGroup(t.Context(), cause(), other, "chain", 0), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateGroup(t.Context(), cause(), meta.Group{Tenant: 4711, Slug: "chain"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateGroup(t.Context(), cause(), meta.Group{Tenant: other, Slug: "chain", Members: []meta.Member{{Registry: tenant.MainRegistry}}})
		if err != nil {
			t.Errorf("the same slug for another tenant: %v", err)
		}
	})
	t.Run("page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addGroup(slug)
		}
		for _, page := range []struct {
			after string
			size  int
			want  []string
		}{{"", 2, []string{"aa", "bb"}}, {"bb", 2, []string{"cc"}}, {"cc", 2, nil}, {"", 0, nil}} {
			got, err := w.Store.ListGroups(t.Context(), w.tenant, meta.Page{After: page.after, Size: page.size})
			w.must(err)
			var slugs []string
			for _, g := range got {
				slugs = append(slugs, g.Slug)
			}
			if !slices.Equal(slugs, page.want) {
				t.Errorf("after %q: %v, want %v", page.after, slugs, page.want)
			}
		}
	})
	t.Run("change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addGroup("chain", meta.Member{Registry: tenant.MainRegistry})
		w.Advance(time.Minute)
		change := before
		change.Members = []meta.Member{}
		after, err := w.Store.UpdateGroup(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = after.Version, w.Now()
		w.sameGroup(after, want)
		if after.Version <= before.Version {
			t.Errorf("version %d after %d", after.Version, before.Version)
		}
		_, err = w.Store.UpdateGroup(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteGroup(t.Context(), cause(), w.tenant, "chain", before.Version), fault.Conflict, fault.EtagMismatch)
		by := cause()
		w.must(w.Store.DeleteGroup(t.Context(), by, w.tenant, "chain", after.Version))
		w.must(w.Store.DeleteGroup(t.Context(), by, w.tenant, "chain", 0)) // the same request again
		w.refused(w.Store.DeleteGroup(t.Context(), cause(), w.tenant, "chain", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("upstreamGroup.delete upstreamGroups/chain", "upstreamGroup.update upstreamGroups/chain", "upstreamGroup.create upstreamGroups/chain")
	})
	t.Run("name only what is there", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		other.addUpstream("ghcr", meta.UpstreamSettings{})
		w.addUpstream("quay", meta.UpstreamSettings{})
		w.addGroup("chain")
		unknown := func(err error, field string) {
			t.Helper()
			w.refused(err, fault.Invalid, fault.ResourceUnknown)
			if got := fault.From(err).Field; got != field {
				t.Errorf("field %q, want %q", got, field)
			}
		}
		for _, m := range []meta.Member{{Registry: "dev"}, {Upstream: "ghcr"}, {Registry: "quay"}, {Upstream: "main"}, {Registry: "upstream/1/1"}} {
			g := meta.Group{Tenant: w.tenant, Slug: "second", Members: []meta.Member{{Upstream: "quay"}, m}}
			_, err := w.Store.CreateGroup(t.Context(), cause(), g)
			unknown(err, "members")
			g.Slug = "chain"
			_, err = w.Store.UpdateGroup(t.Context(), cause(), g)
			unknown(err, "members")
		}
		r := meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: tenant.Settings{UpstreamGroup: "none"}}
		_, err := w.Store.CreateRegistry(t.Context(), cause(), r)
		unknown(err, "upstream_group")
		r.ID, r.Slug = w.registry, tenant.MainRegistry
		_, err = w.Store.UpdateRegistry(t.Context(), cause(), r)
		unknown(err, "upstream_group")
		r.ID, r.Tenant, r.Settings.UpstreamGroup = other.registry, other.tenant, "chain"
		_, err = w.Store.UpdateRegistry(t.Context(), cause(), r)
		unknown(err, "upstream_group")
	})
	t.Run("keep what they name, and are kept by what names them", func(t *testing.T) {
		w := newWorld(t, open)
		w.addUpstream("ghcr", meta.UpstreamSettings{})
		_, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "prod"})
		w.must(err)
		w.addGroup("chain", meta.Member{Registry: "prod"}, meta.Member{Upstream: "ghcr"})
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: tenant.Settings{UpstreamGroup: "chain", AnonymousPull: true}})
		w.must(err)
		w.refused(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "prod", 0, true), fault.Conflict, fault.InUse)
		w.refused(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0), fault.Conflict, fault.InUse)
		w.refused(w.Store.DeleteGroup(t.Context(), cause(), w.tenant, "chain", 0), fault.Conflict, fault.InUse)

		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		w.must(w.Store.DeleteGroup(t.Context(), cause(), w.tenant, "chain", 0)) // what is being deleted names nothing
		w.must(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0))
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "prod", 0, true))
	})
	t.Run("S73 leave the upstreams that a registry mirrors in place", func(t *testing.T) {
		w := newWorld(t, open)
		w.addUpstream("ghcr", meta.UpstreamSettings{})
		w.addUpstream("quay", meta.UpstreamSettings{})
		dev := meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: tenant.Settings{MirrorUpstreams: "quay,none"}}
		_, err := w.Store.CreateRegistry(t.Context(), cause(), dev)
		w.refused(err, fault.Invalid, fault.ResourceUnknown)
		if got := fault.From(err).Field; got != "mirror_upstreams" {
			t.Errorf("field %q", got)
		}
		dev.Settings.MirrorUpstreams = "quay,ghcr"
		dev, err = w.Store.CreateRegistry(t.Context(), cause(), dev)
		w.must(err)
		top, err := w.Store.FindTopology(t.Context(), w.tenant)
		w.must(err)
		if got := top.Registries["dev"].Mirrored; !slices.Equal(got, []string{"quay", "ghcr"}) {
			t.Errorf("mirrored %q", got)
		}
		dev.Settings.MirrorUpstreams = "none"
		_, err = w.Store.UpdateRegistry(t.Context(), cause(), dev)
		w.refused(err, fault.Invalid, fault.ResourceUnknown)
		w.refused(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0), fault.Conflict, fault.InUse)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		w.must(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0))
		back, err := w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		w.must(err)
		if back.Settings.MirrorUpstreams != "quay" {
			t.Errorf("it came back with %q", back.Settings.MirrorUpstreams)
		}
	})
	t.Run("are not left with members that go at the same moment", func(t *testing.T) {
		w := newWorld(t, open)
		for range 10 {
			w.addUpstream("ghcr", meta.UpstreamSettings{})
			var made, gone error
			together(
				func() {
					_, made = w.Store.CreateGroup(t.Context(), cause(), meta.Group{Tenant: w.tenant, Slug: "chain", Members: []meta.Member{{Upstream: "ghcr"}}})
				},
				func() { gone = w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0) },
			)
			if (made == nil) == (gone == nil) {
				t.Fatalf("made: %v, deleted: %v", made, gone)
			}
			if made == nil {
				w.must(w.Store.DeleteGroup(t.Context(), cause(), w.tenant, "chain", 0))
				w.must(w.Store.DeleteUpstream(t.Context(), cause(), w.tenant, "ghcr", 0))
			}
		}
	})
}

func testTopology(t *testing.T, open Open) {
	t.Run("is all of one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		other.addUpstream("quay", meta.UpstreamSettings{})
		ghcr := w.addUpstream("ghcr", meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://ghcr.example", Password: []byte("sealed")}})
		members := []meta.Member{{Registry: tenant.MainRegistry}, {Upstream: "ghcr", OnOutage: meta.Continue}}
		w.addGroup("chain", members...)
		w.addGroup("nothing")
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: tenant.Settings{UpstreamGroup: "chain", AnonymousPull: true}})
		w.must(err)
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "gone"})
		w.must(err)
		drop, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "drop", Settings: tenant.Settings{AnonymousPush: true}})
		w.must(err)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "gone", 0, true))
		w.must(w.Store.RecordStatus(t.Context(), w.tenant, ghcr.ID, meta.UpstreamStatus{State: "open"}))
		got, err := w.Store.FindTopology(t.Context(), w.tenant)
		w.must(err)
		if u := got.Upstreams["ghcr"]; u.Status != (meta.UpstreamStatus{}) {
			t.Errorf("with a status: %+v", u)
		}
		w.sameUpstream(got.Upstreams["ghcr"], ghcr)
		if len(got.Upstreams) != 1 || len(got.Groups) != 2 || len(got.Groups["nothing"]) != 0 || !reflect.DeepEqual(got.Groups["chain"], members) {
			t.Errorf("topology %+v", got)
		}
		if want := map[string]meta.TopologyRegistry{"main": {ID: w.registry}, "dev": {ID: dev.ID, Group: "chain", AnonymousPull: true}, "drop": {ID: drop.ID, AnonymousPush: true}}; !reflect.DeepEqual(got.Registries, want) {
			t.Errorf("registries %+v, want %+v", got.Registries, want)
		}
		nobody, err := w.Store.FindTopology(t.Context(), 4711)
		if err != nil || len(nobody.Registries)+len(nobody.Groups)+len(nobody.Upstreams) != 0 {
			t.Errorf("of no registry: %+v, %v", nobody, err)
		}
	})
}

func (w world) addGroup(slug string, members ...meta.Member) meta.Group {
	w.t.Helper()
	g, err := w.Store.CreateGroup(w.t.Context(), cause(), meta.Group{Tenant: w.tenant, Slug: slug, Members: members})
	w.must(err)
	return g
}

func (w world) sameGroup(got, want meta.Group) {
	w.t.Helper()
	same := slices.EqualFunc(got.Members, want.Members, func(a, b meta.Member) bool { return reflect.DeepEqual(a, b) })
	if !same || got.Tenant != want.Tenant || got.Slug != want.Slug || got.Version != want.Version ||
		!got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("group is\n%+v, want\n%+v", got, want)
	}
}
