package metatest

import (
	"reflect"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testWebhooks tests webhooks as records.
func testWebhooks(t *testing.T, open Open) {
	t.Run("W190 belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, h := cause(), w.webhook("ci")
		h.DisplayName, h.Registry, h.Format = "CI", tenant.MainRegistry, meta.DistributionNotifications
		h.Events, h.Repositories = []string{"manifest.*"}, []string{"team/**"}
		made, err := w.Store.CreateWebhook(t.Context(), by, h)
		w.must(err)
		want := h
		want.ID, want.Version, want.CreatedAt, want.UpdatedAt = by.Op, made.Version, w.Now(), w.Now()
		w.sameWebhook(made, want)
		again, err := w.Store.CreateWebhook(t.Context(), by, h) // the same request again
		w.must(err)
		w.sameWebhook(again, made)
		_, err = w.Store.CreateWebhook(t.Context(), cause(), h)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindWebhook(t.Context(), other, "ci")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		foreign := w.webhook("ci")
		foreign.Tenant = other
		_, err = w.Store.UpdateWebhook(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteWebhook(t.Context(), cause(), other, "ci", 0), fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.ResealWebhook(t.Context(), cause(), foreign), fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("W190 page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addWebhook(w.webhook(slug))
		}
		pagesBySlug(w, w.Store.ListWebhooks, func(h meta.Webhook) string { return h.Slug })
	})
	t.Run("W190 change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addWebhook(w.webhook("ci"))
		w.Advance(time.Minute)
		change := before
		change.URL, change.Events, change.Disabled, change.DisabledReason = "https://elsewhere.example/", []string{"tag.*"}, true, "gone"
		after, err := w.Store.UpdateWebhook(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = before.Version+1, w.Now()
		w.sameWebhook(after, want)
		_, err = w.Store.UpdateWebhook(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteWebhook(t.Context(), cause(), w.tenant, "ci", before.Version), fault.Conflict, fault.EtagMismatch)
		dry := cause()
		dry.ValidateOnly = true
		w.must(w.Store.DeleteWebhook(t.Context(), dry, w.tenant, "ci", after.Version))
		by := cause()
		w.must(w.Store.DeleteWebhook(t.Context(), by, w.tenant, "ci", after.Version))
		w.must(w.Store.DeleteWebhook(t.Context(), by, w.tenant, "ci", 0)) // the same request again
		w.refused(w.Store.DeleteWebhook(t.Context(), cause(), w.tenant, "ci", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("webhook.delete webhooks/ci", "webhook.update webhooks/ci", "webhook.create webhooks/ci")
	})
	t.Run("W191 keep the secret before for a day", func(t *testing.T) {
		w := newWorld(t, open)
		h := w.addWebhook(w.webhook("ci"))
		h.Secret = []byte("another")
		h, err := w.Store.UpdateWebhook(t.Context(), cause(), h)
		w.must(err)
		if string(h.Secret) != "another" || string(h.PreviousSecret) != "a secret" || !h.PreviousUntil.Equal(w.Now().Add(meta.SecretOverlap)) {
			t.Errorf("%+v", h)
		}
		h.DisplayName = "CI"
		kept, err := w.Store.UpdateWebhook(t.Context(), cause(), h)
		w.must(err)
		if string(kept.PreviousSecret) != "a secret" {
			t.Errorf("%+v", kept)
		}
		kept.Secret, kept.PreviousSecret = []byte("sealed again"), []byte("this, too")
		w.must(w.Store.ResealWebhook(t.Context(), cause(), kept))
		got, err := w.Store.FindWebhook(t.Context(), w.tenant, "ci")
		w.must(err)
		if string(got.Secret) != "sealed again" || string(got.PreviousSecret) != "this, too" || !got.PreviousUntil.Equal(kept.PreviousUntil) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("W190 go with their tenant, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		h := w.addWebhook(w.webhook("ci"))
		w.pushTagged(w.repo("app"), "a", "v1")
		w.makeDeliveries()
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		if _, found, err := w.Store.FindClaimable(t.Context(), w.tenant, h.ID); err != nil || found {
			t.Errorf("a deleted tenant's webhook may be called: %v", err)
		}
		_, err := w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		if _, found, err := w.Store.FindClaimable(t.Context(), w.tenant, h.ID); err != nil || !found {
			t.Errorf("a restored tenant's webhook may not be called: %v", err)
		}
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		w.makeDeliveries()
		_, err = w.Store.TrimDeliveries(t.Context(), 1000, meta.DeliveryLog)
		w.must(err)
		left, err := w.Store.ListWebhooks(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 || len(w.deliveries(h)) != 0 {
			t.Errorf("left: %+v, %+v, %v", left, w.deliveries(h), err)
		}
		w.consistent()
	})
}

// webhook is for all events.
func (w world) webhook(slug string) meta.Webhook {
	return meta.Webhook{Tenant: w.tenant, Slug: slug, URL: "https://ci.example/hook", Format: meta.CloudEvents, Secret: []byte("a secret")}
}

func (w world) addWebhook(h meta.Webhook) meta.Webhook {
	w.t.Helper()
	made, err := w.Store.CreateWebhook(w.t.Context(), cause(), h)
	w.must(err)
	return made
}

func (w world) sameWebhook(got, want meta.Webhook) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("webhook is\n%+v, want\n%+v", got, want)
	}
}
