package metatest

import (
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testSites(t *testing.T, open Open) {
	main := tenant.Lookup{Host: "acme.reg.example", TenantSlug: "acme", Registry: tenant.MainRegistry}
	dev := tenant.Lookup{Host: "dev.acme.reg.example", TenantSlug: "acme", Registry: "dev"}
	own := tenant.Lookup{Host: "registry.acme.com"}
	prepare := func(t *testing.T) (world, tenant.Site) {
		t.Helper()
		w := newWorld(t, open)
		settings := tenant.Settings{AnonymousPull: true, ReadOnly: true}
		r, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: settings})
		w.must(err)
		return w, tenant.Site{
			Host: dev.Host, Tenant: w.tenant, TenantSlug: "acme", Epoch: w.acme().Epoch,
			Registry: r.ID, RegistrySlug: "dev", Settings: settings,
		}
	}
	t.Run("are found by slugs and by verified domains", func(t *testing.T) {
		w, want := prepare(t)
		w.site(dev, want)
		w.addDomain(own.Host, "dev", false)
		w.nowhere(own)
		_, err := w.Store.VerifyDomain(t.Context(), cause(), w.tenant, own.Host)
		w.must(err)
		want.Host = own.Host
		w.site(own, want)
		w.must(w.Store.DeleteDomain(t.Context(), cause(), w.tenant, own.Host))
		w.nowhere(own)
		w.nowhere(tenant.Lookup{Host: "x", TenantSlug: "acme", Registry: "prod"})
		w.nowhere(tenant.Lookup{Host: "x", TenantSlug: "nobody", Registry: tenant.MainRegistry})
		w.nowhere(tenant.Lookup{})
	})
	t.Run("say that the tenant is suspended", func(t *testing.T) {
		w, want := prepare(t)
		change := w.acme()
		change.State = tenant.Suspended
		_, err := w.Store.UpdateTenant(t.Context(), cause(), change)
		w.must(err)
		want.Suspended, want.Epoch = true, want.Epoch+1
		w.site(dev, want)
	})
	t.Run("end with their registry", func(t *testing.T) {
		w, _ := prepare(t)
		w.addDomain(own.Host, "dev", true)
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
		w.nowhere(dev)
		w.nowhere(own)
		if _, err := w.Store.FindSite(t.Context(), main); err != nil {
			t.Errorf("another registry of the tenant: %v", err)
		}
	})
	t.Run("end with their tenant", func(t *testing.T) {
		w, _ := prepare(t)
		w.addDomain(own.Host, "dev", true)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		for _, l := range []tenant.Lookup{main, dev, own} {
			w.nowhere(l)
		}
		other, _ := w.addTenant("other", 0)
		_, err := w.Store.CreateDomain(t.Context(), cause(), meta.Domain{Tenant: other, Registry: tenant.MainRegistry, Host: own.Host, Verified: true})
		if err != nil {
			t.Errorf("the domain is free: %v", err)
		}
	})
}

func (w world) site(l tenant.Lookup, want tenant.Site) {
	w.t.Helper()
	if got, err := w.Store.FindSite(w.t.Context(), l); err != nil || got != want {
		w.t.Errorf("%+v leads to %+v, %v; want %+v", l, got, err, want)
	}
}

func (w world) nowhere(l tenant.Lookup) {
	w.t.Helper()
	_, err := w.Store.FindSite(w.t.Context(), l)
	w.refused(err, fault.NotFound, fault.HostUnknown)
}
