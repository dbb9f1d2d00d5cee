package metatest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testLimits tests how many of each noun a tenant may have.
func testLimits(t *testing.T, open Open) {
	few := meta.Limits{Registries: 3, Accounts: 3, Users: 3, AccountKeys: 3, AccessRules: 3, TagRules: 3, PromotionGates: 3, PullRules: 3, Webhooks: 3, RetentionPolicies: 3, Prefetches: 3, PrincipalGroups: 3, Providers: 3, Domains: 3, Upstreams: 3, Groups: 3, MirrorHosts: 3}
	none := meta.Limits{Registries: -1, Accounts: -1, Users: -1, AccountKeys: -1, AccessRules: -1, TagRules: -1, PromotionGates: -1, PullRules: -1, Webhooks: -1, RetentionPolicies: -1, Prefetches: -1, PrincipalGroups: -1, Providers: -1, Domains: -1, Upstreams: -1, Groups: -1, MirrorHosts: -1}
	for name, noun := range limitedNouns {
		t.Run("S40 "+name, func(t *testing.T) {
			w := newWorldWith(t, open, Options{Limits: few})
			noun.prepare(w)
			var made atomic.Int64
			together(times(12, func(i int) {
				err := noun.make(w, fmt.Sprintf("n%02d", i))
				switch {
				case err == nil:
					made.Add(1)
				case !fault.Is(err, fault.LimitReached) || fault.KindOf(err) != fault.Conflict:
					t.Error(err)
				}
			})...)
			if got := made.Load() + noun.there; got != 3 {
				t.Errorf("%d are made at a limit of 3", got)
			}
			events, err := w.Store.ListEvents(t.Context(), w.tenant, meta.Page{Size: 100})
			w.must(err)
			w.must(noun.remove(w))
			if err := noun.make(w, "again"); noun.deleted != fault.Is(err, fault.LimitReached) {
				t.Errorf("after one was deleted: %v", err)
			}
			if noun.there+made.Load() != 3 || int64(len(events)) < made.Load() {
				t.Errorf("%d events of %d", len(events), made.Load())
			}
		})
		t.Run("S40 "+name+" without a limit", func(t *testing.T) {
			w := newWorldWith(t, open, Options{Limits: none})
			noun.prepare(w)
			for i := range 5 {
				w.must(noun.make(w, fmt.Sprintf("n%02d", i)))
			}
		})
	}
	t.Run("S44 S46 events", func(t *testing.T) {
		w := newWorldWith(t, open, Options{Limits: meta.Limits{Events: 7}})
		other, _ := w.addTenant("other", 0)
		r := w.repo("app")
		w.pushImage(r, "v1", "config")
		for i := range 20 { // of administration, between what pushes write
			_, err := w.Store.CreateAccount(t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: fmt.Sprintf("a%02d", i), Role: access.Reader})
			w.must(err)
			w.push(r, fmt.Sprint("layer", i))
			w.must(w.Store.RecordRefusals(t.Context(), map[meta.Refusal]int64{
				{Tenant: w.tenant, Login: i%2 == 0, Actor: "guess", Minute: w.Now().Truncate(time.Minute).Add(time.Duration(-i) * time.Minute)}: 1,
			}))
		}
		for i := range 30 {
			w.push(r, fmt.Sprint("more", i))
		}
		trim := func() map[string]int {
			for n := 1; n > 0; {
				var err error
				n, err = w.Store.TrimEvents(t.Context(), 4)
				w.must(err)
			}
			left := map[string]int{}
			for _, e := range w.events("", 1000) {
				left[e.Verb]++
			}
			return left
		}
		left := trim()
		if left["serviceAccount.create"] != 20 || left["tenant.create"] != 1 {
			t.Errorf("pushes and refusals pushed out administration: %v are left", left)
		}
		if left["login.fail"]+left["call.deny"] != 7 {
			t.Errorf("of 20 refusals %v are left", left)
		}
		if n := left["blob.push"] + left["manifest.put"]; n < 7 || n > 7+20+20+1 {
			t.Errorf("of 52 pushes %v are left", left)
		}
		for n := range 2 * meta.AdministrationKept * 7 {
			a := w.addAccount(fmt.Sprintf("more%03d", n), access.Reader)
			w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, a.Slug, 0))
		}
		left = trim()
		if n := left["serviceAccount.create"] + left["serviceAccount.delete"] + left["tenant.create"]; n != meta.AdministrationKept*7 {
			t.Errorf("%d of administration are left", n)
		}
		if left["login.fail"]+left["call.deny"] != 7 || left["blob.push"]+left["manifest.put"] < 7 {
			t.Errorf("administration pushed out others: %v are left", left)
		}
		// S98: what is old or too many, of whatever kind, goes in one call.
		for i := range 20 {
			w.push(r, fmt.Sprint("again", i))
			w.must(w.Store.RecordRefusals(t.Context(), map[meta.Refusal]int64{
				{Tenant: w.tenant, Actor: "guess", Minute: w.Now().Truncate(time.Minute).Add(time.Duration(i+1) * time.Minute)}: 1,
			}))
			w.addAccount(fmt.Sprintf("again%02d", i), access.Reader)
		}
		for i := range 2 {
			if n, err := w.Store.TrimEvents(t.Context(), 1000); err != nil || (n > 0) != (i == 0) {
				t.Errorf("call %d trimmed %d, %v", i, n, err)
			}
		}
		if left, err := w.Store.ListEvents(t.Context(), other, meta.Page{Size: 100}); err != nil || len(left) != 1 {
			t.Errorf("of another tenant %+v, %v", left, err)
		}
	})
	t.Run("renewed caches", func(t *testing.T) {
		w := newWorldWith(t, open, Options{Limits: few})
		w.addUpstream("ghcr", meta.UpstreamSettings{})
		renewed := 0
		for range 20 {
			u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
			w.must(err)
			if _, err = w.Store.UpdateUpstream(t.Context(), cause(), u, true); err != nil {
				w.refused(err, fault.Conflict, fault.LimitReached)
				break
			}
			renewed++
		}
		if renewed != 11 {
			t.Errorf("an upstream had %d caches at once, want 12", renewed+1)
		}
		w.collectAll()
		u, err := w.Store.FindUpstream(t.Context(), w.tenant, "ghcr")
		w.must(err)
		_, err = w.Store.UpdateUpstream(t.Context(), cause(), u, true)
		w.must(err)
	})
}

// limitedNoun is a noun of which a tenant has a limited number.
type limitedNoun struct {
	there   int64 // how many a tenant begins with
	deleted bool  // a deleted one still counts
	prepare func(world)
	make    func(w world, name string) error
	remove  func(world) error // one of those that were made
}

var limitedNouns = map[string]limitedNoun{
	"registries": {
		there: 1, deleted: true, prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateRegistry(w.t.Context(), cause(), meta.Registry{Tenant: w.tenant, Slug: name})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListRegistries(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteRegistry(w.t.Context(), cause(), w.tenant, all[len(all)-1].Slug, 0, true)
		},
	},
	"accounts": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateAccount(w.t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: name, Role: access.Reader})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListAccounts(w.t.Context(), w.tenant, access.ServiceKind, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteAccount(w.t.Context(), cause(), w.tenant, access.ServiceKind, all[0].Slug, 0)
		},
	},
	"users": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateAccount(w.t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.UserKind, Slug: name, Role: access.Reader})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListAccounts(w.t.Context(), w.tenant, access.UserKind, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteAccount(w.t.Context(), cause(), w.tenant, access.UserKind, all[0].Slug, 0)
		},
	},
	"trusts": {
		prepare: func(w world) { w.addAccount("ci", access.Reader) },
		make: func(w world, name string) error {
			_, err := w.Store.CreateTrust(w.t.Context(), cause(), w.tenant, "ci", meta.Trust{Name: name})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListTrusts(w.t.Context(), w.tenant, "ci")
			w.must(err)
			return w.Store.DeleteTrust(w.t.Context(), cause(), w.tenant, "ci", all[0].Name)
		},
	},
	"keys": {
		prepare: func(w world) {
			_, err := w.Store.CreateAccount(w.t.Context(), cause(), meta.Account{Tenant: w.tenant, Kind: access.ServiceKind, Slug: "ci", Role: access.Reader})
			w.must(err)
		},
		make: func(w world, name string) error {
			_, err := w.Store.CreateAccountKey(w.t.Context(), cause(), w.tenant, access.ServiceKind, "ci", meta.AccountKey{Name: name})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListAccountKeys(w.t.Context(), w.tenant, access.ServiceKind, "ci")
			w.must(err)
			return w.Store.DeleteAccountKey(w.t.Context(), cause(), w.tenant, access.ServiceKind, "ci", all[0].Name)
		},
	},
	"access rules": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateAccessRule(w.t.Context(), cause(), w.rule(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListAccessRules(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteAccessRule(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"tag rules": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateTagRule(w.t.Context(), cause(), w.tagRule(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListTagRules(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteTagRule(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"promotion gates": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreatePromotionGate(w.t.Context(), cause(), w.gate(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListPromotionGates(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeletePromotionGate(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"webhooks": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateWebhook(w.t.Context(), cause(), w.webhook(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListWebhooks(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteWebhook(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"pull rules": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreatePullRule(w.t.Context(), cause(), w.pullRule(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListPullRules(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeletePullRule(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"retention policies": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateRetentionPolicy(w.t.Context(), cause(), w.retentionPolicy(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListRetentionPolicies(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteRetentionPolicy(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"prefetches": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreatePrefetch(w.t.Context(), cause(), w.prefetch(name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListPrefetches(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeletePrefetch(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"principal groups": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreatePrincipalGroup(w.t.Context(), cause(), meta.PrincipalGroup{Tenant: w.tenant, Slug: name})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListPrincipalGroups(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeletePrincipalGroup(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"identity providers": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateIdentityProvider(w.t.Context(), cause(), w.provider(w.tenant, name))
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListIdentityProviders(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteIdentityProvider(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"mirror hosts": {
		prepare: func(w world) { w.addUpstream("hub", meta.UpstreamSettings{}) },
		make: func(w world, name string) error {
			h := meta.MirrorHost{Tenant: w.tenant, Slug: name, Registry: tenant.MainRegistry, Upstream: "hub"}
			_, err := w.Store.CreateMirrorHost(w.t.Context(), cause(), h, meta.MirrorName{Hash: tenant.MirrorHash(name), ExpiresAt: w.Now().Add(time.Hour)})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListMirrorHosts(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteMirrorHost(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"domains": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateDomain(w.t.Context(), cause(), meta.Domain{Tenant: w.tenant, Registry: "main", Host: name + ".example.com"})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListDomains(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteDomain(w.t.Context(), cause(), w.tenant, all[0].Host)
		},
	},
	"upstreams": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateUpstream(w.t.Context(), cause(), meta.Upstream{Tenant: w.tenant, Slug: name})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListUpstreams(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteUpstream(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
	"groups": {
		prepare: func(world) {},
		make: func(w world, name string) error {
			_, err := w.Store.CreateGroup(w.t.Context(), cause(), meta.Group{Tenant: w.tenant, Slug: name})
			return err
		},
		remove: func(w world) error {
			all, err := w.Store.ListGroups(w.t.Context(), w.tenant, meta.Page{Size: 10})
			w.must(err)
			return w.Store.DeleteGroup(w.t.Context(), cause(), w.tenant, all[0].Slug, 0)
		},
	},
}
