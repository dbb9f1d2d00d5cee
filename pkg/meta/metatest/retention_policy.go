package metatest

import (
	"reflect"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/retention"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// retentionPolicy deletes all tags and all untagged manifests, where it says no more.
func (w world) retentionPolicy(slug string, rules ...retention.Rule) meta.RetentionPolicy {
	if len(rules) == 0 {
		rules = []retention.Rule{
			{Name: "tags", Action: retention.Delete},
			{Name: "untagged", Action: retention.Delete, Selector: retention.Selector{Untagged: true}},
		}
	}
	return meta.RetentionPolicy{Tenant: w.tenant, Slug: slug, Interval: 24 * time.Hour, MaxDeletions: 1000, Policy: retention.Policy{Rules: rules}}
}

func (w world) addRetention(p meta.RetentionPolicy) meta.RetentionPolicy {
	w.t.Helper()
	made, err := w.Store.CreateRetentionPolicy(w.t.Context(), cause(), p)
	w.must(err)
	return made
}

func (w world) samePolicy(got, want meta.RetentionPolicy) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) || !got.Run.DueAt.Equal(want.Run.DueAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt, got.Run.DueAt = want.CreatedAt, want.UpdatedAt, want.Run.DueAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("policy is\n%+v, want\n%+v", got, want)
	}
}

// testRetentionPolicies tests policies as records; their runs are tested below.
func testRetentionPolicies(t *testing.T, open Open) {
	t.Run("W120 belong to one tenant, with all that they say", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, p := cause(), w.retentionPolicy("old", retention.Rule{
			Name: "all of it", Action: retention.Keep,
			Selector: retention.Selector{Tags: []string{"v*"}, Classes: []tagrule.Class{tagrule.Release}, Variants: []string{retention.NoVariant}},
			Conditions: retention.Conditions{
				Versions: &retention.Window{Majors: 5, Minors: 3, Patches: retention.All, MinorsOf: 2, PatchesOf: 4}, Newest: 7, Released: true,
				OlderThan: time.Hour, YoungerThan: 2 * time.Hour, PulledWithin: 3 * time.Hour, NotPulledFor: 4 * time.Hour,
			},
		}, retention.Rule{Name: "untagged", Action: retention.Delete, Selector: retention.Selector{Untagged: true}})
		p.DisplayName, p.Registry, p.Repositories = "Old", tenant.MainRegistry, []string{"team/**"}
		p.Disabled, p.Enforced, p.MayDeleteProtected, p.Interval, p.MaxDeletions = true, true, true, time.Hour, 4711
		made, err := w.Store.CreateRetentionPolicy(t.Context(), by, p)
		w.must(err)
		want := p
		want.Version, want.CreatedAt, want.UpdatedAt = 1, w.Now(), w.Now()
		w.samePolicy(made, want)
		again, err := w.Store.CreateRetentionPolicy(t.Context(), by, p) // the same request again
		w.must(err)
		w.samePolicy(again, made)
		_, err = w.Store.CreateRetentionPolicy(t.Context(), cause(), p)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindRetentionPolicy(t.Context(), other, "old")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		foreign := w.retentionPolicy("old")
		foreign.Tenant = other
		_, err = w.Store.UpdateRetentionPolicy(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteRetentionPolicy(t.Context(), cause(), other, "old", 0), fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.RunRetentionPolicy(t.Context(), cause(), other, "old")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.RunRetentionPolicy(t.Context(), cause(), w.tenant, "old") // it is disabled
		w.refused(err, fault.Invalid, fault.RequestInvalid)
	})
	t.Run("W120 page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addRetention(w.retentionPolicy(slug))
		}
		pagesBySlug(w, w.Store.ListRetentionPolicies, func(r meta.RetentionPolicy) string { return r.Slug })
	})
	t.Run("W120 change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addRetention(w.retentionPolicy("old"))
		w.Advance(time.Minute)
		change := before
		change.Registry, change.Repositories, change.Enforced = tenant.MainRegistry, []string{"app"}, true
		after, err := w.Store.UpdateRetentionPolicy(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt, want.Run.DueAt = before.Version+1, w.Now(), w.Now().Add(meta.RetentionDelay)
		w.samePolicy(after, want)
		_, err = w.Store.UpdateRetentionPolicy(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteRetentionPolicy(t.Context(), cause(), w.tenant, "old", before.Version), fault.Conflict, fault.EtagMismatch)
		dry := cause()
		dry.ValidateOnly = true
		w.must(w.Store.DeleteRetentionPolicy(t.Context(), dry, w.tenant, "old", after.Version))
		by := cause()
		w.must(w.Store.DeleteRetentionPolicy(t.Context(), by, w.tenant, "old", after.Version))
		w.must(w.Store.DeleteRetentionPolicy(t.Context(), by, w.tenant, "old", 0)) // the same request again
		w.refused(w.Store.DeleteRetentionPolicy(t.Context(), cause(), w.tenant, "old", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("retentionPolicy.delete retentionPolicies/old", "retentionPolicy.update retentionPolicies/old", "retentionPolicy.create retentionPolicies/old")
	})
	t.Run("W120 go with their tenant, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		w.addRetention(w.retentionPolicy("old"))
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		if _, claimed := w.claim(); claimed {
			t.Error("the policy of a deleted tenant runs")
		}
		_, err := w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		_, err = w.Store.FindRetentionPolicy(t.Context(), w.tenant, "old")
		w.must(err)
		w.Advance(2 * time.Hour)
		if _, claimed := w.claim(); !claimed {
			t.Error("it does not run when the tenant is back")
		}
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		left, err := w.Store.ListRetentionPolicies(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		w.consistent()
	})
	t.Run("W121 the first enforced policy decides, and those that observe before it say what they would", func(t *testing.T) {
		w := newWorld(t, open)
		observe, first, second, later := w.retentionPolicy("a"), w.retentionPolicy("b"), w.retentionPolicy("c"), w.retentionPolicy("d")
		first.Enforced, second.Enforced = true, true
		first.Repositories, first.Registry = []string{"team/*"}, "dev"
		all := []meta.RetentionPolicy{observe, first, second, later}
		for _, c := range []struct{ registry, repository, want string }{
			{"dev", "team/app", "ab"}, {"dev", "app", "ac"}, {"prod", "team/app", "ac"},
		} {
			got := ""
			for _, p := range all {
				if meta.RetentionPolicyFor(all, p, c.registry, c.repository) {
					got += p.Slug
				}
			}
			if got != c.want {
				t.Errorf("%s/%s: %s decide, want %s", c.registry, c.repository, got, c.want)
			}
		}
	})
}
