package metatest

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testAccessRules(t *testing.T, open Open) {
	t.Run("belong to one tenant", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		w.addAccount("ci", access.Member)
		by, r := cause(), w.rule("dev")
		r.DisplayName, r.Deny = "Development", true
		r.Principals = []string{"serviceAccounts/ci", access.Authenticated}
		r.Registries, r.Repositories = []string{tenant.MainRegistry, "team-*"}, []string{"foo/img/**", "bar"}
		r.Actions = access.Pull | access.Fill | access.Push | access.Delete
		r.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
		r.Until = w.Now().Add(time.Hour)
		made, err := w.Store.CreateAccessRule(t.Context(), by, r)
		w.must(err)
		want := r
		want.Version, want.CreatedAt, want.UpdatedAt = made.Version, w.Now(), w.Now()
		w.sameRule(made, want)
		if made.Version == 0 {
			t.Error("no version")
		}
		again, err := w.Store.CreateAccessRule(t.Context(), by, r) // the same request again
		w.must(err)
		w.sameRule(again, made)
		_, err = w.Store.CreateAccessRule(t.Context(), cause(), r)
		w.refused(err, fault.Conflict, fault.AlreadyExists)
		_, err = w.Store.FindAccessRule(t.Context(), other, "dev")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		foreign := w.rule("dev")
		foreign.Tenant = other
		_, err = w.Store.UpdateAccessRule(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.refused(w.Store.DeleteAccessRule(t.Context(), cause(), other, "dev", 0), fault.NotFound, fault.ResourceUnknown)
		foreign.Tenant = 4711
		_, err = w.Store.CreateAccessRule(t.Context(), cause(), foreign)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		w.policy(meta.AccessPolicy{Version: 1, Rules: []access.Rule{made.Rule}})
		w.policyOf(other, meta.AccessPolicy{})
		_, err = w.Store.AccessPolicy(t.Context(), 4711)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("page by slug", func(t *testing.T) {
		w := newWorld(t, open)
		for _, slug := range []string{"cc", "aa", "bb"} {
			w.addRule(w.rule(slug))
		}
		for _, page := range []struct {
			after string
			size  int
			want  []string
		}{{"", 2, []string{"aa", "bb"}}, {"bb", 2, []string{"cc"}}, {"cc", 2, nil}, {"", 0, nil}} {
			got, err := w.Store.ListAccessRules(t.Context(), w.tenant, meta.Page{After: page.after, Size: page.size})
			w.must(err)
			var slugs []string
			for _, r := range got {
				slugs = append(slugs, r.Slug)
			}
			if !slices.Equal(slugs, page.want) {
				t.Errorf("after %q: %v, want %v", page.after, slugs, page.want)
			}
		}
	})
	t.Run("change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		before := w.addRule(w.rule("dev"))
		w.Advance(time.Minute)
		change := before
		change.DisplayName, change.Repositories, change.Actions, change.Deny = "Dev", []string{"b/*"}, access.Fill, true
		change.Until = w.Now().Add(time.Hour)
		after, err := w.Store.UpdateAccessRule(t.Context(), cause(), change)
		w.must(err)
		want := change
		want.Version, want.UpdatedAt = after.Version, w.Now()
		w.sameRule(after, want)
		if after.Version <= before.Version {
			t.Errorf("version %d after %d", after.Version, before.Version)
		}
		_, err = w.Store.UpdateAccessRule(t.Context(), cause(), change)
		w.refused(err, fault.Conflict, fault.EtagMismatch)
		w.refused(w.Store.DeleteAccessRule(t.Context(), cause(), w.tenant, "dev", before.Version), fault.Conflict, fault.EtagMismatch)
		by := cause()
		w.must(w.Store.DeleteAccessRule(t.Context(), by, w.tenant, "dev", after.Version))
		w.must(w.Store.DeleteAccessRule(t.Context(), by, w.tenant, "dev", 0)) // the same request again
		w.refused(w.Store.DeleteAccessRule(t.Context(), cause(), w.tenant, "dev", 0), fault.NotFound, fault.ResourceUnknown)
		w.told("accessRule.delete accessRules/dev", "accessRule.update accessRules/dev", "accessRule.create accessRules/dev")
		w.policy(meta.AccessPolicy{Version: 3}) // what was refused, and what was repeated, did not count
	})
	t.Run("U1 are a policy with a version, which the sites of the tenant have", func(t *testing.T) {
		w := newWorld(t, open)
		other, _ := w.addTenant("other", 0)
		w.addDomain("registry.acme.com", tenant.MainRegistry, true)
		version := func(want int64) {
			t.Helper()
			for _, l := range []tenant.Lookup{{Host: "acme.reg.example", TenantSlug: "acme", Registry: tenant.MainRegistry}, {Host: "registry.acme.com"}} {
				if site, err := w.Store.FindSite(t.Context(), l); err != nil || site.AccessVersion != want {
					t.Errorf("%s: %+v, %v; want version %d", l.Host, site, err, want)
				}
			}
		}
		version(0)
		w.policy(meta.AccessPolicy{})
		second, first := w.addRule(w.rule("second")), w.addRule(w.rule("first"))
		short := w.rule("short")
		short.Until = w.Now().Add(time.Hour)
		short = w.addRule(short)
		version(3)
		w.policy(meta.AccessPolicy{Version: 3, Rules: []access.Rule{first.Rule, second.Rule, short.Rule}})
		second.Disabled = true
		second, err := w.Store.UpdateAccessRule(t.Context(), cause(), second)
		w.must(err)
		version(4)
		w.policy(meta.AccessPolicy{Version: 4, Rules: []access.Rule{first.Rule, short.Rule}})
		w.Advance(time.Hour - time.Second)
		w.policy(meta.AccessPolicy{Version: 4, Rules: []access.Rule{first.Rule, short.Rule}})
		w.Advance(time.Second)
		w.policy(meta.AccessPolicy{Version: 4, Rules: []access.Rule{first.Rule}})
		second.Disabled = false
		_, err = w.Store.UpdateAccessRule(t.Context(), cause(), second)
		w.must(err)
		w.must(w.Store.DeleteAccessRule(t.Context(), cause(), w.tenant, "first", 0))
		version(6)
		w.policy(meta.AccessPolicy{Version: 6, Rules: []access.Rule{second.Rule}})
		w.policyOf(other, meta.AccessPolicy{})
	})
	t.Run("U1 are read in one snapshot", func(t *testing.T) {
		w := newWorld(t, open)
		const rules = 10
		together(
			func() {
				for i := range rules {
					w.addRule(w.rule(fmt.Sprintf("r%02d", i)))
				}
			},
			func() {
				for seen := 0; seen < rules; {
					p, err := w.Store.AccessPolicy(t.Context(), w.tenant)
					if err != nil || int64(len(p.Rules)) != p.Version {
						t.Errorf("version %d with %d rules, %v", p.Version, len(p.Rules), err)
						return
					}
					seen = len(p.Rules)
				}
			},
		)
	})
	t.Run("U2 name only what is there", func(t *testing.T) {
		w := newWorld(t, open)
		other := w
		other.tenant, other.registry = w.addTenant("other", 0)
		other.addAccount("theirs", access.Reader)
		other.addRegistry("theirs")
		w.addAccount("ci", access.Member)
		w.addRegistry("gone")
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "gone", 0, true))
		w.addUpstream("ghcr", meta.UpstreamSettings{})
		there := w.addRule(w.rule("there"))
		for _, c := range []struct {
			principals, registries []string
			field                  string
		}{
			{[]string{"serviceAccounts/ci", "serviceAccounts/none"}, nil, "principals[1]"},
			{[]string{"serviceAccounts/theirs"}, nil, "principals[0]"},
			{[]string{"serviceAccounts/ci"}, []string{"main", "none"}, "registries[1]"},
			{[]string{"anonymous"}, []string{"theirs"}, "registries[0]"},
			{[]string{"anonymous"}, []string{"gone"}, "registries[0]"},
			{[]string{"anonymous"}, []string{"none-*", "ghcr"}, "registries[1]"},
		} {
			r := w.rule("dev")
			r.Principals, r.Registries = c.principals, c.registries
			_, err := w.Store.CreateAccessRule(t.Context(), cause(), r)
			w.refused(err, fault.Invalid, fault.ResourceUnknown)
			change := there
			change.Principals, change.Registries = c.principals, c.registries
			_, err2 := w.Store.UpdateAccessRule(t.Context(), cause(), change)
			w.refused(err2, fault.Invalid, fault.ResourceUnknown)
			if one, two := fault.From(err).Field, fault.From(err2).Field; one != c.field || two != c.field {
				t.Errorf("field %q and %q, want %q", one, two, c.field)
			}
		}
		w.policy(meta.AccessPolicy{Version: 1, Rules: []access.Rule{there.Rule}})
	})
	t.Run("U3 keep what they name", func(t *testing.T) {
		w := newWorld(t, open)
		w.addAccount("ci", access.Member)
		w.addAccount("ci2", access.Member)
		w.addRegistry("dev")
		w.addRegistry("dev2")
		r := w.rule("rule")
		r.Principals, r.Registries, r.Disabled = []string{access.Authenticated, "serviceAccounts/ci"}, []string{"main", "dev", "dev*"}, true
		r = w.addRule(r)
		for _, err := range []error{
			w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0),
			w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true),
		} {
			w.refused(err, fault.Conflict, fault.InUse)
		}
		w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci2", 0))
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev2", 0, true)) // a pattern names nothing
		r.Principals, r.Registries = []string{access.AnonymousPrincipal}, nil
		_, err := w.Store.UpdateAccessRule(t.Context(), cause(), r)
		w.must(err)
		w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0))
		w.must(w.Store.DeleteRegistry(t.Context(), cause(), w.tenant, "dev", 0, true))
	})
	t.Run("U3 are not left with names that go at the same moment", func(t *testing.T) {
		w := newWorld(t, open)
		for range 40 {
			w.addAccount("ci", access.Member)
			r := w.rule("rule")
			r.Principals = []string{"serviceAccounts/ci"}
			var made, gone error
			together(
				func() { _, made = w.Store.CreateAccessRule(t.Context(), cause(), r) },
				func() { gone = w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0) },
			)
			if (made == nil) == (gone == nil) {
				t.Fatalf("made: %v, deleted: %v", made, gone)
			}
			if made == nil {
				w.must(w.Store.DeleteAccessRule(t.Context(), cause(), w.tenant, "rule", 0))
				w.must(w.Store.DeleteAccount(t.Context(), cause(), w.tenant, access.ServiceKind, "ci", 0))
			}
		}
	})
	t.Run("U3 go with their tenant, and come back with it", func(t *testing.T) {
		w := newWorld(t, open)
		w.addAccount("ci", access.Member)
		r := w.rule("rule")
		r.Principals = []string{"serviceAccounts/ci"}
		r = w.addRule(r)
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		_, err := w.Store.UndeleteTenant(t.Context(), cause(), "acme", 0)
		w.must(err)
		w.policy(meta.AccessPolicy{Version: 1, Rules: []access.Rule{r.Rule}})
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		left, err := w.Store.ListAccessRules(t.Context(), w.tenant, meta.Page{Size: 9})
		if err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		w.accounts(nil, "", 9)
		w.consistent()
	})
}

// rule is one that callers without a credential may pull by, where it says no more.
func (w world) rule(slug string) meta.AccessRule {
	return meta.AccessRule{Tenant: w.tenant, Rule: access.Rule{
		Slug: slug, Principals: []string{access.AnonymousPrincipal}, Repositories: []string{"**"}, Actions: access.Pull,
	}}
}

func (w world) addRule(r meta.AccessRule) meta.AccessRule {
	w.t.Helper()
	made, err := w.Store.CreateAccessRule(w.t.Context(), cause(), r)
	w.must(err)
	return made
}

func (w world) sameRule(got, want meta.AccessRule) {
	w.t.Helper()
	if !got.Until.Equal(want.Until) || !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		w.t.Errorf("times of %+v, want those of %+v", got, want)
	}
	got.Until, got.CreatedAt, got.UpdatedAt = want.Until, want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("rule is\n%+v, want\n%+v", got, want)
	}
}

func (w world) policy(want meta.AccessPolicy) {
	w.t.Helper()
	w.policyOf(w.tenant, want)
}

func (w world) policyOf(t tenant.ID, want meta.AccessPolicy) {
	w.t.Helper()
	got, err := w.Store.AccessPolicy(w.t.Context(), t)
	w.must(err)
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("policy is\n%+v, want\n%+v", got, want)
	}
}
