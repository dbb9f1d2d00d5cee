package metatest

import (
	"reflect"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tagrule"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testTagRules tests rules as records; what they protect is tested below.
func testTagRules(t *testing.T, open Open) {
	t.Run("W30 belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, r := cause(), w.tagRule("releases")
		r.DisplayName, r.Registry = "Releases", tenant.MainRegistry
		r.Repositories, r.Tags, r.Classes = []string{"team/**"}, []string{"v*"}, []tagrule.Class{tagrule.Release}
		made, err := w.Store.CreateTagRule(t.Context(), by, r)
		w.must(err)
		want := r
		want.Version, want.CreatedAt, want.UpdatedAt = made.Version, w.Now(), w.Now()
		w.sameTagRule(made, want)
		again, err := w.Store.CreateTagRule(t.Context(), by, r) // the same request again
		w.must(err)
		w.sameTagRule(again, made)
		_, err = w.Store.CreateTagRule(t.Context(), cause(), r)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindTagRule(t.Context(), other, "releases")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		foreign := w.tagRule("releases")
		foreign.Tenant = other
		_, err = w.Store.UpdateTagRule(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteTagRule(t.Context(), cause(), other, "releases", 0), fault.NotFound, fault.ResourceUnknown)
		foreign.Tenant = 4711
		_, err = w.Store.CreateTagRule(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("W30 page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addTagRule(w.tagRule(slug))
		}
		pagesBySlug(w, w.Store.ListTagRules, func(r meta.TagRule) string { return r.Slug })
	})
	t.Run("W30 change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addTagRule(w.tagRule("releases"))
		w.Advance(time.Minute)
		change := before
		change.Registry, change.Tags, change.NoDelete, change.Disabled = tenant.MainRegistry, []string{"stable"}, false, true
		after, err := w.Store.UpdateTagRule(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = before.Version+1, w.Now()
		w.sameTagRule(after, want)
		_, err = w.Store.UpdateTagRule(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteTagRule(t.Context(), cause(), w.tenant, "releases", before.Version), fault.Conflict, fault.EtagMismatch)
		dry := cause()
		dry.ValidateOnly = true
		w.must(w.Store.DeleteTagRule(t.Context(), dry, w.tenant, "releases", after.Version))
		by := cause()
		w.must(w.Store.DeleteTagRule(t.Context(), by, w.tenant, "releases", after.Version))
		w.must(w.Store.DeleteTagRule(t.Context(), by, w.tenant, "releases", 0)) // the same request again
		w.refused(w.Store.DeleteTagRule(t.Context(), cause(), w.tenant, "releases", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("tagRule.delete tagRules/releases", "tagRule.update tagRules/releases", "tagRule.create tagRules/releases")
	})
	t.Run("W30 go with their tenant, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		w.addTagRule(w.tagRule("releases"))
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		_, err := w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		_, err = w.Store.FindTagRule(t.Context(), w.tenant, "releases")
		w.must(err)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		left, err := w.Store.ListTagRules(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		w.consistent()
	})
}

// tagRule protects all full versions, where it says no more.
func (w world) tagRule(slug string) meta.TagRule {
	return meta.TagRule{Tenant: w.tenant, Rule: tagrule.Rule{
		Slug: slug, Classes: []tagrule.Class{tagrule.Release, tagrule.Prerelease}, NoOverwrite: true, NoDelete: true,
	}}
}

func (w world) addTagRule(r meta.TagRule) meta.TagRule {
	w.t.Helper()
	made, err := w.Store.CreateTagRule(w.t.Context(), cause(), r)
	w.must(err)
	return made
}

func (w world) sameTagRule(got, want meta.TagRule) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("rule is\n%+v, want\n%+v", got, want)
	}
}
