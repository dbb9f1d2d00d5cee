package metatest

import (
	"slices"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testDomains(t *testing.T, open Open) {
	t.Run("belong to one registry", func(t *testing.T) {
		w := newWorld(t, open)
		by := cause()
		d := meta.Domain{Tenant: w.tenant, Registry: tenant.MainRegistry, Host: "registry.acme.com", Challenge: "berth-1"}
		made, err := w.Store.CreateDomain(t.Context(), by, d)
		w.must(err)
		want := d
		want.Version, want.CreatedAt = made.Version, w.Now()
		if made != want || made.Version == 0 {
			t.Errorf("made %+v, want %+v", made, want)
		}
		again, err := w.Store.CreateDomain(t.Context(), by, d) // the same request again
		if err != nil || again != made {
			t.Errorf("made again %+v, %v", again, err)
		}
		_, err = w.Store.CreateDomain(t.Context(), cause(), d)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		d.Host, d.Registry = "x.acme.com", "nowhere"
		_, err = w.Store.CreateDomain(t.Context(), cause(), d)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.FindDomain(t.Context(), w.tenant, "x.acme.com")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("page by host", func(t *testing.T) {
		w := newWorld(t, open)
		for _, host := range []string{"c.com", "a.com", "b.com"} {
			w.addDomain(host, tenant.MainRegistry, false)
		}
		w.domains([]string{"a.com", "b.com"}, "", 2)
		w.domains([]string{"c.com"}, "b.com", 2)
		w.domains(nil, "c.com", 2)
		w.domains(nil, "", 0)
	})
	t.Run("are led to another registry", func(t *testing.T) {
		w := newWorld(t, open)
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.must(err)
		w.addDomain("a.com", tenant.MainRegistry, true)
		d, err := w.Store.FindDomain(t.Context(), w.tenant, "a.com")
		w.must(err)
		change := d
		change.Registry = dev.Slug
		by := cause()
		after, err := w.Store.UpdateDomain(t.Context(), by, change)
		want := change
		want.Version = d.Version + 1
		if err != nil || after != want {
			t.Errorf("changed to %+v, %v; want %+v", after, err, want)
		}
		if _, err := w.Store.UpdateDomain(t.Context(), by, change); err != nil { // the same request again
			t.Error(err)
		}
		site, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: "a.com"})
		if err != nil || site.Registry != dev.ID {
			t.Errorf("the host leads to registry %d, %v; want %d", site.Registry, err, dev.ID)
		}
		_, err = w.Store.UpdateDomain(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		after.Registry = "nowhere"
		_, err = w.Store.UpdateDomain(t.Context(), cause(), after)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		after.Registry, after.Host = tenant.MainRegistry, "b.com"
		_, err = w.Store.UpdateDomain(t.Context(), cause(), after)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("go to one of many who verify them", func(t *testing.T) { testDomainRace(t, open) })
	t.Run("go to who verified them first", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		claim := meta.Domain{Tenant: other, Registry: tenant.MainRegistry, Host: "registry.acme.com"}
		_, err := w.Store.CreateDomain(t.Context(), cause(), claim)
		w.must(err)
		w.addDomain("registry.acme.com", tenant.MainRegistry, false) // an unverified claim does not block
		verified, err := w.Store.VerifyDomain(t.Context(), cause(), w.tenant, "registry.acme.com")
		if err != nil || !verified.Verified || verified.Tenant != w.tenant {
			t.Errorf("verified %+v, %v", verified, err)
		}
		_, err = w.Store.VerifyDomain(t.Context(), cause(), other, "registry.acme.com")
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		third, _ := w.addTenant("third", 0)
		claim.Tenant = third
		_, err = w.Store.CreateDomain(t.Context(), cause(), claim)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.VerifyDomain(t.Context(), cause(), third, "registry.acme.com")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)

		w.refused(w.Store.DeleteDomain(t.Context(), cause(), third, "registry.acme.com"), fault.NotFound, fault.ResourceUnknown)

		by := cause()
		w.must(w.Store.DeleteDomain(t.Context(), by, w.tenant, "registry.acme.com"))
		w.must(w.Store.DeleteDomain(t.Context(), by, w.tenant, "registry.acme.com")) // the same request again
		w.refused(w.Store.DeleteDomain(t.Context(), cause(), w.tenant, "registry.acme.com"), fault.NotFound, fault.ResourceUnknown)
		if _, err = w.Store.VerifyDomain(t.Context(), cause(), other, "registry.acme.com"); err != nil {
			t.Errorf("the host is free: %v", err)
		}
	})
}

func testDomainRace(t *testing.T, open Open) {
	w := newWorld(t, open)
	tenants := make([]tenant.ID, 8)
	for i, slug := range numbered("tenant-%d", len(tenants)) {
		tenants[i], _ = w.addTenant(slug, 0)
		_, err := w.Store.CreateDomain(t.Context(), cause(), meta.Domain{Tenant: tenants[i], Registry: tenant.MainRegistry, Host: "a.com"})
		w.must(err)
	}
	errs := make([]error, len(tenants))
	var all sync.WaitGroup
	for i, id := range tenants {
		all.Go(func() { _, errs[i] = w.Store.VerifyDomain(t.Context(), cause(), id, "a.com") })
	}
	all.Wait()
	w.oneWon(errs)
	site, err := w.Store.FindSite(t.Context(), tenant.Lookup{Host: "a.com"})
	if winner := tenants[slices.Index(errs, nil)]; err != nil || site.Tenant != winner {
		t.Errorf("the host leads to tenant %d, %v; %d verified it", site.Tenant, err, winner)
	}
}

func (w world) addDomain(host, registry string, verified bool) {
	w.t.Helper()
	_, err := w.Store.CreateDomain(w.t.Context(), cause(), meta.Domain{Tenant: w.tenant, Registry: registry, Host: host, Verified: verified})
	w.must(err)
}

// domains fails the test unless the page of domains is what it should be.
func (w world) domains(want []string, after string, size int) {
	w.t.Helper()
	got, err := w.Store.ListDomains(w.t.Context(), w.tenant, meta.Page{After: after, Size: size})
	w.must(err)
	var hosts []string
	for _, d := range got {
		hosts = append(hosts, d.Host)
	}
	if !slices.Equal(hosts, want) {
		w.t.Errorf("domains after %q: %v; want %v", after, hosts, want)
	}
}
