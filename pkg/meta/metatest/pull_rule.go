package metatest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/scan"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testPullRules tests pull rules as records.
func testPullRules(t *testing.T, open Open) {
	t.Run("W166 belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		by, r := cause(), w.pullRule("releases")
		r.DisplayName, r.Registry = "Releases", tenant.MainRegistry
		r.Identities, r.TrustedRoot = []meta.SignerIdentity{{Issuer: "https://login.example", Subject: "*@example.com"}}, "a root"
		r.Repositories, r.Tags, r.Keys, r.ArtifactTypes = []string{"team/**"}, []string{"v*"}, []string{"a key"}, []string{"application/spdx+json"}
		r.Enforced, r.MinAge, r.Scan = true, time.Hour, meta.ScanRequirement{MaxAge: time.Hour, MaxSeverity: scan.Medium}
		made, err := w.Store.CreatePullRule(t.Context(), by, r)
		w.must(err)
		want := r
		want.Version, want.CreatedAt, want.UpdatedAt = made.Version, w.Now(), w.Now()
		w.samePullRule(made, want)
		again, err := w.Store.CreatePullRule(t.Context(), by, r) // the same request again
		w.must(err)
		w.samePullRule(again, made)
		_, err = w.Store.CreatePullRule(t.Context(), cause(), r)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindPullRule(t.Context(), other, "releases")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		foreign := w.pullRule("releases")
		foreign.Tenant = other
		_, err = w.Store.UpdatePullRule(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeletePullRule(t.Context(), cause(), other, "releases", 0), fault.NotFound, fault.ResourceUnknown)
		foreign.Tenant = 4711
		_, err = w.Store.CreatePullRule(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("W166 page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addPullRule(w.pullRule(slug))
		}
		pagesBySlug(w, w.Store.ListPullRules, func(r meta.PullRule) string { return r.Slug })
	})
	t.Run("W166 change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addPullRule(w.pullRule("releases"))
		w.Advance(time.Minute)
		change := before
		change.Registry, change.Tags, change.Enforced, change.Disabled = tenant.MainRegistry, []string{"stable"}, true, true
		after, err := w.Store.UpdatePullRule(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = before.Version+1, w.Now()
		w.samePullRule(after, want)
		_, err = w.Store.UpdatePullRule(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeletePullRule(t.Context(), cause(), w.tenant, "releases", before.Version), fault.Conflict, fault.EtagMismatch)
		dry := cause()
		dry.ValidateOnly = true
		w.must(w.Store.DeletePullRule(t.Context(), dry, w.tenant, "releases", after.Version))
		by := cause()
		w.must(w.Store.DeletePullRule(t.Context(), by, w.tenant, "releases", after.Version))
		w.must(w.Store.DeletePullRule(t.Context(), by, w.tenant, "releases", 0)) // the same request again
		w.refused(w.Store.DeletePullRule(t.Context(), cause(), w.tenant, "releases", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("pullRule.delete pullRules/releases", "pullRule.update pullRules/releases", "pullRule.create pullRules/releases")
	})
	t.Run("W166 are a policy with a version, which the sites of the tenant have", func(t *testing.T) {
		w := newWorld(t, open)
		w.pullPolicy(0)
		second, first := w.addPullRule(w.pullRule("second")), w.addPullRule(w.pullRule("first"))
		w.pullPolicy(2, "first", "second")
		_, err := w.Store.CreatePullRule(t.Context(), cause(), w.pullRule("first")) // does not count
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		second.Disabled = true
		_, err = w.Store.UpdatePullRule(t.Context(), cause(), second)
		w.must(err)
		w.pullPolicy(3, "first")
		w.must(w.Store.DeletePullRule(t.Context(), cause(), w.tenant, first.Slug, 0))
		w.pullPolicy(4)
		_, err = w.Store.PullPolicy(t.Context(), 4711)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("W166 go with their tenant, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		w.addPullRule(w.pullRule("releases"))
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		_, err := w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		_, err = w.Store.FindPullRule(t.Context(), w.tenant, "releases")
		w.must(err)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		left, err := w.Store.ListPullRules(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		w.consistent()
	})
}

// pullRule asks for an SBOM, where it says no more.
func (w world) pullRule(slug string) meta.PullRule {
	return meta.PullRule{Tenant: w.tenant, Slug: slug, ArtifactTypes: []string{"application/spdx+json"}}
}

func (w world) addPullRule(r meta.PullRule) meta.PullRule {
	w.t.Helper()
	made, err := w.Store.CreatePullRule(w.t.Context(), cause(), r)
	w.must(err)
	return made
}

func (w world) samePullRule(got, want meta.PullRule) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("rule is\n%+v, want\n%+v", got, want)
	}
}

// pullPolicy compares the pull rules that count, and the version that sites have.
func (w world) pullPolicy(version int64, slugs ...string) {
	w.t.Helper()
	p, err := w.Store.PullPolicy(w.t.Context(), w.tenant)
	w.must(err)
	var have []string
	for _, r := range p.Rules {
		have = append(have, r.Slug)
		if len(r.ArtifactTypes) != 1 {
			w.t.Errorf("rule of the policy: %+v", r)
		}
	}
	site, err := w.Store.FindSite(w.t.Context(), tenant.Lookup{Host: "acme.reg.example", TenantSlug: "acme", Registry: tenant.MainRegistry})
	w.must(err)
	if p.Version != version || site.PullRules != version || !slices.Equal(have, slugs) {
		w.t.Errorf("policy %d of the site %d: %q; want %d: %q", p.Version, site.PullRules, have, version, slugs)
	}
}
