package metatest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testTenants(t *testing.T, open Open) {
	t.Run("are made with their main registry", func(t *testing.T) {
		w := newWorld(t, open)
		by, settings := cause(), tenant.Settings{AnonymousPull: true, DeleteReferrers: true}
		made, err := w.Store.CreateTenant(t.Context(), by, meta.Tenant{Slug: "corp", DisplayName: "Corp.", Quota: 5}, settings)
		w.must(err)
		want := meta.Tenant{
			ID: made.ID, Slug: "corp", DisplayName: "Corp.", State: tenant.Active, Epoch: made.Epoch, Quota: 5, Version: made.Version,
			CreatedAt: w.Now(), UpdatedAt: w.Now(),
		}
		if made != want || made.ID == w.tenant || made.Version == 0 {
			t.Errorf("made %+v", made)
		}
		main, err := w.Store.FindRegistry(t.Context(), made.ID, tenant.MainRegistry)
		if err != nil || main.Settings != settings || main.State != tenant.Active {
			t.Errorf("main %+v, %v", main, err)
		}
		again, err := w.Store.CreateTenant(t.Context(), by, meta.Tenant{Slug: "corp"}, tenant.Settings{}) // the same request again
		if err != nil || again != made {
			t.Errorf("made again %+v, %v", again, err)
		}
		_, err = w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "corp"}, tenant.Settings{})
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindTenant(t.Context(), "nobody")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"zoo", "bee-1", "bee"} {
			w.addTenant(slug, 0)
		}
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "zoo", 0, true))
		w.tenants([]string{"acme", "bee"}, "", 2)
		w.tenants([]string{"bee-1"}, "bee", 2)
		w.tenants(nil, "bee-1", 2)
		w.tenants(nil, "", 0)
	})
	t.Run("change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.acme()
		w.Advance(time.Minute)
		change := before
		change.DisplayName, change.Quota = "Acme", 7
		after, err := w.Store.UpdateTenant(t.Context(), cause(), change)
		w.must(err)
		if after.DisplayName != "Acme" || after.Quota != 7 || after.Version <= before.Version || after.Epoch != before.Epoch ||
			!after.UpdatedAt.Equal(w.Now()) || !after.CreatedAt.Equal(before.CreatedAt) {
			t.Errorf("updated to %+v", after)
		}
		_, err = w.Store.UpdateTenant(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		change.Version = 0
		_, err = w.Store.UpdateTenant(t.Context(), cause(), change)
		w.must(err)
		change.State = tenant.Deleted
		_, err = w.Store.UpdateTenant(t.Context(), cause(), change)
		w.refused(err, fault.Invalid, fault.RequestInvalid)
		_, err = w.Store.UpdateTenant(t.Context(), cause(), meta.Tenant{Slug: "nobody", State: tenant.Active})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		change.ID, change.State = 4711, tenant.Active
		_, err = w.Store.UpdateTenant(t.Context(), cause(), change)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteTenant(t.Context(), cause(), "acme", before.Version, true), fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteTenant(t.Context(), cause(), "nobody", 0, true), fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("raise their epoch once when suspended", func(t *testing.T) {
		w := newWorld(t, open)
		epoch := w.acme().Epoch
		for _, c := range []struct {
			to    tenant.State
			epoch int64
		}{{tenant.Suspended, epoch + 1}, {tenant.Suspended, epoch + 1}, {tenant.Active, epoch + 1}, {tenant.Suspended, epoch + 2}} {
			change := w.acme()
			change.State = c.to
			got, err := w.Store.UpdateTenant(t.Context(), cause(), change)
			if err != nil || got.State != c.to || got.Epoch != c.epoch {
				t.Errorf("to %s: %+v, %v; want epoch %d", c.to, got, err, c.epoch)
			}
		}
	})
	t.Run("get a slug that many want once", func(t *testing.T) {
		w := newWorld(t, open)
		errs := make([]error, 16)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				_, errs[i] = w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "corp"}, tenant.Settings{})
			})
		}
		all.Wait()
		w.oneWon(errs)
	})
	t.Run("leave their slug in quarantine", func(t *testing.T) {
		w := newWorld(t, open)
		by := cause()
		w.must(w.Store.DeleteTenant(t.Context(), by, "acme", w.acme().Version, true))
		w.must(w.Store.DeleteTenant(t.Context(), by, "acme", 0, true)) // the same request again
		w.refused(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true), fault.NotFound, fault.ResourceUnknown)
		_, err := w.Store.FindTenant(t.Context(), "acme")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.UpdateTenant(t.Context(), cause(), meta.Tenant{Slug: "acme", State: tenant.Active})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.CreateRegistry(t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: "dev"})
		w.refused(err, fault.NotFound, fault.ResourceUnknown)

		create := func() (meta.Tenant, error) {
			return w.Store.CreateTenant(t.Context(), cause(), meta.Tenant{Slug: "acme"}, tenant.Settings{})
		}
		_, err = create()
		w.refused(err, fault.Conflict, fault.NameQuarantined)
		w.purge()
		w.Advance(meta.DefaultLifetimes.Quarantine - meta.DefaultLifetimes.Undelete - time.Second)
		_, err = create()
		w.refused(err, fault.Conflict, fault.NameQuarantined)
		w.Advance(time.Second)
		made, err := create()
		w.must(err)
		if made.ID == w.tenant {
			t.Error("the tenant's id is used again")
		}
		w.consistent()
	})
}

// oneWon fails the test unless all but one were told that it exists already.
func (w world) oneWon(errs []error) {
	w.t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			w.refused(err, fault.Conflict, fault.AlreadyExists)
		}
	}
	if won != 1 {
		w.t.Fatalf("%d of %d won", won, len(errs))
	}
}

// purge lets the time pass in which deletions can be taken back, and the janitor
// finish them.
func (w world) purge() {
	w.t.Helper()
	w.Advance(meta.DefaultLifetimes.Undelete)
	w.purgeNow()
}

func (w world) purgeNow() {
	w.t.Helper()
	for {
		n, err := w.Store.PurgeDeleted(w.t.Context(), 100)
		w.must(err)
		if n == 0 {
			return
		}
	}
}

// acme is the world's tenant as it is now.
func (w world) acme() meta.Tenant {
	w.t.Helper()
	t, err := w.Store.FindTenant(w.t.Context(), "acme")
	w.must(err)
	return t
}

// tenants fails the test unless the page of tenants is what it should be.
func (w world) tenants(want []string, after string, size int) {
	w.t.Helper()
	got, err := w.Store.ListTenants(w.t.Context(), meta.Page{After: after, Size: size})
	w.must(err)
	var slugs []string
	for _, t := range got {
		slugs = append(slugs, t.Slug)
	}
	if !slices.Equal(slugs, want) {
		w.t.Errorf("tenants after %q: %v; want %v", after, slugs, want)
	}
}
