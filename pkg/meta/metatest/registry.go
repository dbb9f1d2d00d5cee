package metatest

import (
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testRegistries(t *testing.T, open Open) {
	t.Run("belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		settings := tenant.Settings{AnonymousPush: true, ReadOnly: true, AllowMissingReferences: true, RedirectBlobs: true}
		by := cause()
		dev, err := w.Store.CreateRegistry(t.Context(), by, meta.Registry{Tenant: w.tenant, Slug: "dev", Settings: settings})
		w.must(err)
		want := meta.Registry{
			ID: dev.ID, Tenant: w.tenant, Slug: "dev", Settings: settings, State: tenant.Active, Version: dev.Version,
			CreatedAt: w.Now(), UpdatedAt: w.Now(),
		}
		if dev != want || dev.Version == 0 {
			t.Errorf("made %+v, want %+v", dev, want)
		}
		again, err := w.Store.CreateRegistry(t.Context(), by, meta.Registry{Tenant: w.tenant, Slug: "dev"}) // the same request again
		if err != nil || again != dev {
			t.Errorf("made again %+v, %v", again, err)
		}
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindRegistry(t.Context(), other, "dev")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.UpdateRegistry(t.Context(), cause(), meta.Registry{Tenant: other, Slug: "dev"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteRegistry(t.Context(), cause(), other, "dev", 0, true), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: 4711, Slug: "dev"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		if _, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: other, Slug: "dev"}); err != nil {
			t.Errorf("the same slug for another tenant: %v", err)
		}
	})
	t.Run("page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		for _, r := range []meta.Registry{{Tenant: w.tenant, Slug: "prod"}, {Tenant: w.tenant, Slug: "dev"}, {Tenant: other, Slug: "lab"}} {
			_, err := w.Store.CreateRegistry(t.Context(), cause(), r)
			w.must(err)
		}
		w.registries([]string{"dev", "main"}, "", 2)
		w.registries([]string{"prod"}, "main", 2)
		w.registries(nil, "prod", 2)
		w.registries(nil, "", 0)
	})
	t.Run("change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before, err := w.Store.FindRegistry(t.Context(), w.tenant, tenant.MainRegistry)
		w.must(err)
		w.Advance(time.Minute)
		change := before
		change.Settings.AnonymousPull = true
		after, err := w.Store.UpdateRegistry(t.Context(), cause(), change)
		w.must(err)
		if after.Settings != change.Settings || after.Version <= before.Version || !after.UpdatedAt.Equal(w.Now()) || after.ID != before.ID {
			t.Errorf("updated to %+v", after)
		}
		_, err = w.Store.UpdateRegistry(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, tenant.MainRegistry, before.Version, true), fault.Conflict, fault.EtagMismatch)
		change.Version = 0
		_, err = w.Store.UpdateRegistry(t.Context(), cause(), change)
		w.must(err)
	})
	t.Run("deleted ones are gone at once", func(t *testing.T) {
		w := newWorld(t, open)
		dev, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.must(err)
		w.addDomain("registry.acme.com", "dev", true)
		w.addDomain("other.acme.com", tenant.MainRegistry, true)
		r := meta.Repo{Tenant: w.tenant, Registry: dev.ID, Name: "app"}
		w.pushImage(r, "v1", "config")
		epoch := w.acme().Epoch
		by := cause()
		w.must(w.Store.DeleteRegistry(t.Context(), by, w.tenant, "dev", dev.Version, true))
		w.must(w.Store.DeleteRegistry(t.Context(), by, w.tenant, "dev", 0, true)) // the same request again
		w.refused(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true), fault.NotFound, fault.ResourceUnknown)
		w.registries([]string{"main"}, "", 9)
		w.domains([]string{"other.acme.com"}, "", 9)
		if got := w.acme().Epoch; got != epoch+1 {
			t.Errorf("epoch %d, was %d", got, epoch)
		}
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		w.purge()
		made, err := w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		if err != nil || made.ID == dev.ID {
			t.Errorf("made again %+v, %v", made, err)
		}
		w.consistent()
	})
}

// registries fails the test unless the page of registries is what it should be.
func (w world) registries(want []string, after string, size int) {
	w.t.Helper()
	got, err := w.Store.ListRegistries(w.t.Context(), w.tenant, meta.Page{After: after, Size: size})
	w.must(err)
	var slugs []string
	for _, r := range got {
		slugs = append(slugs, r.Slug)
	}
	if !slices.Equal(slugs, want) {
		w.t.Errorf("registries after %q: %v; want %v", after, slugs, want)
	}
}
