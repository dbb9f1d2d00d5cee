package metatest

import (
	"reflect"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testPromotionGates tests gates as records.
func testPromotionGates(t *testing.T, open Open) {
	t.Run("W160 belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, r := cause(), w.gate("releases")
		r.DisplayName, r.Registry = "Releases", tenant.MainRegistry
		r.Repositories, r.Tags, r.Keys, r.ArtifactTypes = []string{"team/**"}, []string{"v*"}, []string{"a key"}, []string{"application/spdx+json"}
		r.Identities, r.TrustedRoot = []meta.SignerIdentity{{Issuer: "https://login.example", Subject: "*@example.com"}}, "a root"
		r.Annotations, r.Labels, r.MinAge, r.AnotherCaller = map[string]string{"reviewed": ""}, map[string]string{"team": "a"}, time.Hour, true
		made, err := w.Store.CreatePromotionGate(t.Context(), by, r)
		w.must(err)
		want := r
		want.Version, want.CreatedAt, want.UpdatedAt = made.Version, w.Now(), w.Now()
		w.samePromotionGate(made, want)
		again, err := w.Store.CreatePromotionGate(t.Context(), by, r) // the same request again
		w.must(err)
		w.samePromotionGate(again, made)
		_, err = w.Store.CreatePromotionGate(t.Context(), cause(), r)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindPromotionGate(t.Context(), other, "releases")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		foreign := w.gate("releases")
		foreign.Tenant = other
		_, err = w.Store.UpdatePromotionGate(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeletePromotionGate(t.Context(), cause(), other, "releases", 0), fault.NotFound, fault.ResourceUnknown)
		foreign.Tenant = 4711
		_, err = w.Store.CreatePromotionGate(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("W160 page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addPromotionGate(w.gate(slug))
		}
		pagesBySlug(w, w.Store.ListPromotionGates, func(r meta.PromotionGate) string { return r.Slug })
	})
	t.Run("W160 change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addPromotionGate(w.gate("releases"))
		w.Advance(time.Minute)
		change := before
		change.Registry, change.Tags, change.MinAge, change.Disabled = tenant.MainRegistry, []string{"stable"}, 0, true
		after, err := w.Store.UpdatePromotionGate(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = before.Version+1, w.Now()
		w.samePromotionGate(after, want)
		_, err = w.Store.UpdatePromotionGate(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeletePromotionGate(t.Context(), cause(), w.tenant, "releases", before.Version), fault.Conflict, fault.EtagMismatch)
		dry := cause()
		dry.ValidateOnly = true
		w.must(w.Store.DeletePromotionGate(t.Context(), dry, w.tenant, "releases", after.Version))
		by := cause()
		w.must(w.Store.DeletePromotionGate(t.Context(), by, w.tenant, "releases", after.Version))
		w.must(w.Store.DeletePromotionGate(t.Context(), by, w.tenant, "releases", 0)) // the same request again
		w.refused(w.Store.DeletePromotionGate(t.Context(), cause(), w.tenant, "releases", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("promotionGate.delete promotionGates/releases", "promotionGate.update promotionGates/releases", "promotionGate.create promotionGates/releases")
	})
	t.Run("W160 go with their tenant, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		w.addPromotionGate(w.gate("releases"))
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		_, err := w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		_, err = w.Store.FindPromotionGate(t.Context(), w.tenant, "releases")
		w.must(err)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		left, err := w.Store.ListPromotionGates(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		w.consistent()
	})
}

// gate asks for a day in the source, where it says no more.
func (w world) gate(slug string) meta.PromotionGate {
	return meta.PromotionGate{Tenant: w.tenant, Slug: slug, MinAge: 24 * time.Hour, Annotations: map[string]string{"reviewed": "yes"}}
}

func (w world) addPromotionGate(r meta.PromotionGate) meta.PromotionGate {
	w.t.Helper()
	made, err := w.Store.CreatePromotionGate(w.t.Context(), cause(), r)
	w.must(err)
	return made
}

func (w world) samePromotionGate(got, want meta.PromotionGate) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("gate is\n%+v, want\n%+v", got, want)
	}
}
