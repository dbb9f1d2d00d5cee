package metatest

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testDeletion plays deletions of tenants and registries that are taken back.
func testDeletion(t *testing.T, open Open) {
	t.Run("L1 of what has content needs force", func(t *testing.T) {
		w := newWorld(t, open)
		dev := w.addRegistry("dev")
		r := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		w.stage(r, "unfinished")
		b := w.push(r, "blob of no manifest")
		w.content(dev.ID, meta.Content{})
		m := w.put(r, w.image(nil, b), "v1", "v2")
		w.put(r, w.index(m))
		w.pushImage(w.repo("lib"), "v1", "blob of no manifest", "more")
		size := int64(len("blob of no manifest"))
		w.content(dev.ID, meta.Content{Repositories: 1, Manifests: 2, Tags: 2, Bytes: size})
		w.content(0, meta.Content{Repositories: 2, Manifests: 3, Tags: 3, Bytes: size + 4})
		few, err := w.Store.CountContent(t.Context(), w.tenant, 0, 1)
		few.Bytes = 0 // of one of the two
		if want := (meta.Content{Repositories: 1, Manifests: 1, Tags: 1, AtLeast: true}); err != nil || few != want {
			t.Errorf("counted up to 1: %+v, %v", few, err)
		}

		before := w.acme()
		w.refused(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, false), fault.Conflict, fault.NotEmpty)
		w.refused(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, false), fault.Conflict, fault.NotEmpty)
		if w.acme() != before {
			t.Errorf("a refusal changed %+v to %+v", before, w.acme())
		}
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		w.content(0, meta.Content{Repositories: 1, Manifests: 1, Tags: 1, Bytes: size + 4})
		w.refused(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, false), fault.Conflict, fault.NotEmpty)
		w.must(w.Store.DeleteRepository(t.Context(), cause(), w.repo("lib")))
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, false))
	})
	t.Run("L3 of a registry is taken back whole", func(t *testing.T) {
		w := newWorld(t, open)
		w.addGroup("chain", meta.Member{Registry: tenant.MainRegistry})
		settings := tenant.Settings{AnonymousPull: true, UpstreamGroup: "chain"}
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: settings})
		w.must(err)
		w.addDomain("dev.acme.com", "dev", true)
		w.addDomain("unproven.acme.com", "dev", false)
		r := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		image := w.pushImage(r, "v1", "config", "layer")
		epoch := w.acme().Epoch

		by := cause()
		w.must(w.Store.DeleteRegistry(t.Context(), by, w.tenant, "dev", dev.Version, true))
		w.must(w.Store.DeleteRegistry(t.Context(), by, w.tenant, "dev", 0, true)) // the same request again
		gone, err := w.Store.FindAnyRegistry(t.Context(), w.tenant, "dev")
		w.must(err)
		if gone.State != tenant.Deleting || !gone.DeletedAt.Equal(w.Now()) || !gone.ExpireAt.Equal(w.Now().Add(meta.DefaultLifetimes.Undelete)) {
			t.Errorf("deleted: %+v", gone)
		}
		all, err := w.Store.ListAllRegistries(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(all) != 2 || all[0] != gone || all[1].Slug != tenant.MainRegistry {
			t.Errorf("all registries %+v, %v", all, err)
		}
		w.nowhere(tenant.Lookup{Host: "dev.acme.com"})
		w.domains(nil, "", 9)
		_, err = w.Store.VerifyDomain(t.Context(), cause(), w.tenant, "unproven.acme.com")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteDomain(t.Context(), cause(), w.tenant, "dev.acme.com"), fault.NotFound, fault.ResourceUnknown)
		w.Advance(meta.DefaultLifetimes.Undelete - time.Second)
		w.collect()

		_, err = w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", dev.Version)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		by = cause()
		back, err := w.Store.UndeleteRegistry(t.Context(), by, w.tenant, "dev", gone.Version)
		w.must(err)
		if back.ID != dev.ID || back.Settings != settings || back.State != tenant.Active || back.Version <= gone.Version || !back.ExpireAt.IsZero() || !back.DeletedAt.IsZero() {
			t.Errorf("came back as %+v", back)
		}
		again, err := w.Store.UndeleteRegistry(t.Context(), by, w.tenant, "dev", 0) // the same request again
		if err != nil || again != back {
			t.Errorf("taken back again: %+v, %v", again, err)
		}
		_, err = w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		w.domains([]string{"dev.acme.com", "unproven.acme.com"}, "", 9)
		w.nowhere(tenant.Lookup{Host: "unproven.acme.com"})
		site, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: "dev.acme.com"})
		if err != nil || site.Registry != dev.ID || site.Epoch <= epoch {
			t.Errorf("site %+v, %v; the epoch was %d", site, err, epoch)
		}
		if got := w.tagged(r, "v1"); got != image.Digest {
			t.Errorf("v1 is %q", got)
		}
		w.pushImage(r, "v2", "config", "another layer")
		w.collectAll()
		if got := w.tagged(r, "v1"); got != image.Digest {
			t.Errorf("v1 is %q in the end", got)
		}
		w.consistent()
	})
	t.Run("L3 of a tenant is taken back whole", func(t *testing.T) {
		w := newWorld(t, open)
		w.addAccount("ci", access.Writer)
		w.addKey("k", "secret")
		ghcr := w.addUpstream("ghcr", meta.UpstreamSettings{UpstreamTarget: meta.UpstreamTarget{URL: "https://ghcr.example", Password: []byte("sealed")}})
		w.addGroup("chain", meta.Member{Upstream: "ghcr"})
		w.addRegistry("dev")
		gone := w.addRegistry("gone")
		w.addDomain("acme.com", tenant.MainRegistry, true)
		w.addDomain("gone.acme.com", "gone", true)
		image := w.pushImage(w.repo("app"), "v1", "config")
		lost := w.pushImage(meta.Repo{Tenant: w.tenant, Registry: gone.ID, Name: "app"}, "v1", "config")
		cached := w.push(meta.Repo{Tenant: w.tenant, Registry: ghcr.Cache, Name: "lib"}, "of the upstream")
		change := w.acme()
		change.State, change.Quota = tenant.Suspended, 1<<20
		before, err := w.Store.UpdateTenant(t.Context(), cause(), change)
		w.must(err)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "gone", 0, true))

		w.Advance(time.Hour)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.nowhere(tenant.Lookup{Host: "acme.com"})
		w.unknownKey(0, "", "secret")
		_, err = w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "gone", 0)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.Advance(meta.DefaultLifetimes.Undelete - time.Second) // too late for the registry
		w.collect()

		held, err := w.Store.FindHolder(t.Context(), "acme")
		if err != nil || held.ID != w.tenant || held.State != tenant.Deleting || held.ExpireAt.Sub(held.DeletedAt) != meta.DefaultLifetimes.Undelete {
			t.Errorf("deleted: %+v, %v", held, err)
		}
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "acme", before.Version)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		by := cause()
		back, err := w.Store.UndeleteTenant(t.Context(), by, "acme", held.Version)
		w.must(err)
		if back.ID != w.tenant || back.State != tenant.Suspended || back.Quota != 1<<20 || back.Epoch <= before.Epoch || !back.ExpireAt.IsZero() || !back.DeletedAt.IsZero() {
			t.Errorf("came back as %+v", back)
		}
		again, err := w.Store.UndeleteTenant(t.Context(), by, "acme", 0) // the same request again
		if err != nil || again != back {
			t.Errorf("taken back again: %+v, %v", again, err)
		}
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "nobody", 0)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		back.State = tenant.Active
		_, err = w.Store.UpdateTenant(t.Context(), cause(), back)
		w.must(err)

		if a, err := w.Store.FindAccountByKey(t.Context(), w.tenant, "ci", sha256.Sum256([]byte("secret"))); err != nil || a.Slug != "ci" {
			t.Errorf("the key is of %+v, %v", a, err)
		}
		w.registries([]string{"dev", "main"}, "", 9)
		w.domains([]string{"acme.com"}, "", 9)
		if _, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: "acme.com"}); err != nil {
			t.Error(err)
		}
		kept, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		w.sameUpstream(kept, ghcr)
		top, err := w.Store.FindTopology(t.Context(), w.tenant)
		if err != nil || len(top.Groups["chain"]) != 1 {
			t.Errorf("topology %+v, %v", top, err)
		}
		if got := w.tagged(w.repo("app"), "v1"); got != image.Digest {
			t.Errorf("v1 is %q", got)
		}
		if _, err := w.Store.FindBlob(t.Context(), meta.Repo{Tenant: w.tenant, Registry: ghcr.Cache, Name: "lib"}, cached.Digest); err != nil {
			t.Errorf("what was cached: %v", err)
		}
		if got := w.tagged(meta.Repo{Tenant: w.tenant, Registry: gone.ID, Name: "app"}, "v1"); got == lost.Digest {
			t.Error("a registry that was deleted before is there")
		}
		w.consistent()
	})
	t.Run("L4 ends at its time", func(t *testing.T) {
		w := newWorld(t, open)
		w.addRegistry("dev")
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		w.Advance(meta.DefaultLifetimes.Undelete)
		_, err := w.Store.FindAnyRegistry(t.Context(), w.tenant, "dev")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.Advance(meta.DefaultLifetimes.Undelete)
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.purgeNow()
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.consistent()
	})
	t.Run("L5 leaves hosts to those who verify them meanwhile", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		w.addRegistry("dev")
		for _, host := range []string{"a.com", "b.com", "c.com"} {
			w.addDomain(host, "dev", true)
		}
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		other.addDomain("a.com", tenant.MainRegistry, true)
		w.addDomain("b.com", tenant.MainRegistry, true) // the tenant itself has other plans with it
		_, err := w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		w.must(err)
		w.domains([]string{"a.com", "b.com", "c.com"}, "", 9)
		for host, want := range map[string]tenant.RegistryID{"a.com": other.registry, "b.com": w.registry} {
			if site, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: host}); err != nil || site.Registry != want {
				t.Errorf("%s leads to %+v, %v", host, site, err)
			}
		}
		if d, err := w.Store.FindDomain(t.Context(), w.tenant, "a.com"); err != nil || d.Verified || d.Registry != "dev" {
			t.Errorf("a.com is %+v, %v", d, err)
		}
		_, err = w.Store.VerifyDomain(t.Context(), cause(), w.tenant, "a.com")
		w.refused(err, fault.Conflict, fault.AlreadyExists)

		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		other.addDomain("c.com", tenant.MainRegistry, true)
		_, err = w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		for host, want := range map[string]tenant.RegistryID{"a.com": other.registry, "b.com": w.registry, "c.com": other.registry} {
			if site, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: host}); err != nil || site.Registry != want {
				t.Errorf("%s leads to %+v, %v", host, site, err)
			}
		}
		w.consistent()
	})
	t.Run("L3 is taken back without a group that went meanwhile", func(t *testing.T) {
		w := newWorld(t, open)
		w.addGroup("chain")
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{
			Tenant: w.tenant, Slug: "dev", Settings: tenant.Settings{UpstreamGroup: "chain", ReadOnly: true},
		})
		w.must(err)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, false))
		w.must(w.Store.DeleteGroup(t.Context(), cause(), w.tenant, "chain", 0))
		back, err := w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
		if err != nil || back.ID != dev.ID || back.Settings != (tenant.Settings{ReadOnly: true}) {
			t.Errorf("came back as %+v, %v", back, err)
		}
	})
	t.Run("L7 leaves the audit log to be read", func(t *testing.T) {
		w := newWorld(t, open)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, false))
		w.Advance(meta.DefaultLifetimes.Quarantine)
		w.collectAll()
		buried, err := w.Store.FindHolder(t.Context(), "acme")
		if err != nil || buried.ID != w.tenant || buried.State != tenant.Deleted || buried.DeletedAt.IsZero() || !buried.ExpireAt.IsZero() {
			t.Errorf("buried: %+v, %v", buried, err)
		}
		w.told("tenant.delete tenants/acme", "tenant.create tenants/acme")
		next, _ := w.addTenant("acme", 0)
		w.addTenant("zoo", 0)
		holder, err := w.Store.FindHolder(t.Context(), "acme")
		if err != nil || holder.ID != next {
			t.Errorf("the slug is of %+v, %v", holder, err)
		}
		if got, err := w.Store.FindTenantByID(t.Context(), w.tenant); err != nil || got != buried {
			t.Errorf("by id: %+v, %v", got, err)
		}
		_, err = w.Store.FindTenantByID(t.Context(), 4711)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)

		var seen []tenant.ID
		after := ""
		for {
			page, err := w.Store.ListHolders(t.Context(), meta.Page{After: after, Size: 1})
			w.must(err)
			if len(page) == 0 {
				break
			}
			seen, after = append(seen, page[0].ID), meta.HolderKey(page[0])
		}
		if len(seen) != 3 || seen[0] != w.tenant || seen[1] != next {
			t.Errorf("listed %v", seen)
		}
		for _, bad := range []string{"x", "acme/", "acme/x", "acme/1/2"} {
			_, err := w.Store.ListHolders(t.Context(), meta.Page{After: bad, Size: 1})
			w.refused(err, fault.Invalid, fault.PageTokenInvalid)
		}
	})
}

// testDeletionRaces lets deletions meet what they end, and what ends them.
func testDeletionRaces(t *testing.T, open Open) {
	t.Run("L6 pushes against a registry's delete lose nothing they were told is kept", func(t *testing.T) {
		w := newWorld(t, open)
		dev := w.addRegistry("dev")
		r := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		config := w.push(r, "config")
		var images []meta.ManifestPut
		for _, content := range numbered("layer %d", 6) {
			images = append(images, w.image(nil, config, w.push(r, content)))
		}
		kept := make([]bool, len(images))
		for range 5 {
			fs := times(len(images), func(i int) {
				err := w.tryPut(r, images[i])
				ignore(t, err, fault.NameUnknown)
				kept[i] = kept[i] || err == nil
			})
			together(append(fs, func() { w.fine(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true)) })...)
			w.refused(w.tryPut(r, images[0]), fault.NotFound, fault.NameUnknown)
			w.collect()
			_, err := w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0)
			w.must(err)
			for i := range images {
				_, err := w.Store.FindManifest(t.Context(), r, oci.Reference{Digest: images[i].Manifest.Digest})
				if kept[i] && err != nil {
					t.Errorf("image %d was acknowledged: %v", i, err)
				}
			}
		}
		w.consistent()
	})
	t.Run("L4 the janitor against undelete", func(t *testing.T) {
		for range 8 {
			w := newWorld(t, open)
			other := w
			other.tenant, other.registry = w.addTenant("other", 0)
			dev := w.addRegistry("dev")
			r := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
			image := w.pushImage(r, "v1", "config", "layer")
			theirs := other.pushImage(other.repo("app"), "v1", "config", "layer")
			w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
			w.must(w.Store.DeleteTenant(t.Context(), cause(), "other", 0, true))
			w.Advance(meta.DefaultLifetimes.Undelete - time.Millisecond)
			var backRegistry, backTenant error
			together(
				func() { w.Advance(time.Millisecond) },
				func() { _, backRegistry = w.Store.UndeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0) },
				func() { _, backTenant = w.Store.UndeleteTenant(t.Context(), cause(), "other", 0) },
				func() { w.fine(w.tryCollect()) },
				func() { w.fine(w.tryCollect()) },
			)
			w.collectAll()
			ignore(t, backRegistry, fault.ResourceUnknown)
			ignore(t, backTenant, fault.ResourceUnknown)
			if got := w.tagged(r, "v1"); (backRegistry == nil) != (got == image.Digest) {
				t.Errorf("the registry: %v, v1 is %q", backRegistry, got)
			}
			if got := other.tagged(other.repo("app"), "v1"); (backTenant == nil) != (got == theirs.Digest) {
				t.Errorf("the tenant: %v, v1 is %q", backTenant, got)
			}
			w.consistent()
		}
	})
}

func (w world) addRegistry(slug string) meta.Registry {
	w.t.Helper()
	r, err := w.Store.CreateRegistry(w.t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: slug})
	w.must(err)
	return r
}

// content fails the test unless the registry, or the tenant, holds that much.
func (w world) content(r tenant.RegistryID, want meta.Content) {
	w.t.Helper()
	if got, err := w.Store.CountContent(w.t.Context(), w.tenant, r, 1000); err != nil || got != want {
		w.t.Errorf("holds %+v, %v; want %+v", got, err, want)
	}
}
