package metatest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

func testIdentityProviders(t *testing.T, open Open) {
	t.Run("V15 belong to a tenant or to the operator, and change if no one else changed them", func(t *testing.T) {
		w := newWorld(t, open)
		for _, owner := range []tenant.ID{w.tenant, meta.Deployment} {
			w.providerChanges(owner)
		}
		w.deploymentEvents("identityProvider.delete identityProviders/corp", "identityProvider.update identityProviders/corp",
			"identityProvider.create identityProviders/other", "identityProvider.create identityProviders/corp")
		other, _ := w.addTenant("other", 0)
		_, err := w.Store.FindIdentityProvider(t.Context(), other, "other")
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
		_, err = w.Store.FindIdentityProviderByID(t.Context(), 4711)
		w.refused(err, fault.NotFound, fault.ResourceUnknown)
	})
	t.Run("V15 are offered to all tenants or to named ones", func(t *testing.T) {
		const acme, other = tenant.ID(7), tenant.ID(8)
		for name, c := range map[string]struct {
			provider meta.IdentityProvider
			to       tenant.ID
			want     bool
		}{
			"its own":                    {meta.IdentityProvider{Tenant: acme}, acme, true},
			"another's":                  {meta.IdentityProvider{Tenant: other}, acme, false},
			"the operator's":             {meta.IdentityProvider{}, acme, true},
			"the operator's, for it":     {meta.IdentityProvider{Tenants: []tenant.ID{other, acme}}, acme, true},
			"the operator's, for others": {meta.IdentityProvider{Tenants: []tenant.ID{other}}, acme, false},
		} {
			if got := c.provider.OfferedTo(c.to); got != c.want {
				t.Errorf("%s: %t", name, got)
			}
		}
	})
	t.Run("V15 go with their tenant", func(t *testing.T) {
		w := newWorld(t, open)
		w.addProvider(w.tenant, "corp")
		w.must(w.Store.DeleteTenant(t.Context(), cause(), "acme", 0, true))
		w.purge()
		if left, err := w.Store.ListIdentityProviders(t.Context(), w.tenant, meta.Page{Size: 9}); err != nil || len(left) != 0 {
			t.Errorf("left %+v, %v", left, err)
		}
		w.consistent()
	})
	t.Run("V16 are not deleted while a group names them", func(t *testing.T) {
		w := newWorld(t, open)
		for i, owner := range []tenant.ID{w.tenant, meta.Deployment} {
			p, group := w.addProvider(owner, "corp"), fmt.Sprintf("group%d", i)
			w.addIdentityGroup(group, p, "dev")
			w.refused(w.Store.DeleteIdentityProvider(t.Context(), cause(), owner, "corp", 0), fault.Conflict, fault.InUse)
			w.must(w.Store.DeletePrincipalGroup(t.Context(), cause(), w.tenant, group, 0))
			w.must(w.Store.DeleteIdentityProvider(t.Context(), cause(), owner, "corp", 0))
		}
	})
}

func (w world) providerChanges(owner tenant.ID) {
	ctx := w.t.Context()
	by, p := cause(), w.provider(owner, "corp")
	made, err := w.Store.CreateIdentityProvider(ctx, by, p)
	w.must(err)
	want := p
	want.ID, want.Version, want.CreatedAt, want.UpdatedAt = made.ID, 1, w.Now(), w.Now()
	w.sameProvider(made, want)
	again, err := w.Store.CreateIdentityProvider(ctx, by, p) // the same request again
	w.must(err)
	w.sameProvider(again, made)
	_, err = w.Store.CreateIdentityProvider(ctx, cause(), p)
	w.refused(err, fault.Conflict, fault.AlreadyExists)
	w.addProvider(owner, "other")

	w.Advance(time.Minute)
	change := made
	change.DisplayName, change.Disabled, change.Secret = "Corp", true, nil
	change.Settings.Refresh, change.Settings.LDAP = time.Minute, &meta.LDAPSettings{Servers: []string{"ldaps://other.example"}}
	changed, err := w.Store.UpdateIdentityProvider(ctx, cause(), change)
	w.must(err)
	want = change
	want.Version, want.UpdatedAt = 2, w.Now()
	w.sameProvider(changed, want)
	_, err = w.Store.UpdateIdentityProvider(ctx, cause(), made)
	w.refused(err, fault.Conflict, fault.EtagMismatch)
	byID, err := w.Store.FindIdentityProviderByID(ctx, made.ID)
	w.must(err)
	w.sameProvider(byID, changed)
	all, err := w.Store.ListIdentityProviders(ctx, owner, meta.Page{Size: 9})
	if err != nil || len(all) != 2 || all[0].Slug != "corp" || all[1].Slug != "other" {
		w.t.Errorf("listed %+v, %v", all, err)
	}
	if rest, err := w.Store.ListIdentityProviders(ctx, owner, meta.Page{After: "corp", Size: 1}); err != nil || len(rest) != 1 || rest[0].Slug != "other" {
		w.t.Errorf("after corp %+v, %v", rest, err)
	}
	w.refused(w.Store.DeleteIdentityProvider(ctx, cause(), owner, "corp", 1), fault.Conflict, fault.EtagMismatch)
	w.must(w.Store.DeleteIdentityProvider(ctx, cause(), owner, "corp", 2))
	w.refused(w.Store.DeleteIdentityProvider(ctx, cause(), owner, "corp", 0), fault.NotFound, fault.ResourceUnknown)
}

func (w world) provider(owner tenant.ID, slug string) meta.IdentityProvider {
	p := meta.IdentityProvider{
		Tenant: owner, Slug: slug, Kind: meta.LDAP, DisplayName: "Directory", Secret: []byte("sealed"),
		Settings: meta.ProviderSettings{Refresh: 5 * time.Minute, Grace: time.Hour, LDAP: &meta.LDAPSettings{Servers: []string{"ldaps://ldap.example"}, BindDN: "cn=berth"}},
	}
	if owner == meta.Deployment {
		p.Tenants = []tenant.ID{w.tenant}
	}
	return p
}

func (w world) addProvider(owner tenant.ID, slug string) meta.IdentityProvider {
	w.t.Helper()
	p, err := w.Store.CreateIdentityProvider(w.t.Context(), cause(), w.provider(owner, slug))
	w.must(err)
	return p
}

func (w world) offerToAll(p meta.IdentityProvider) {
	w.t.Helper()
	p.Tenants, p.Version = nil, 0
	_, err := w.Store.UpdateIdentityProvider(w.t.Context(), cause(), p)
	w.must(err)
}

// addIdentityGroup makes a group of the people in a group of the provider.
func (w world) addIdentityGroup(slug string, p meta.IdentityProvider, groups ...string) {
	w.t.Helper()
	g := meta.PrincipalGroup{Tenant: w.tenant, Slug: slug}
	for _, name := range groups {
		g.Identities = append(g.Identities, meta.GroupIdentity{Provider: p.ID, Group: name})
	}
	made, err := w.Store.CreatePrincipalGroup(w.t.Context(), cause(), g)
	w.must(err)
	if !reflect.DeepEqual(made.Identities, g.Identities) {
		w.t.Errorf("identities %+v, want %+v", made.Identities, g.Identities)
	}
}

func (w world) sameProvider(got, want meta.IdentityProvider) {
	w.t.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) || string(got.Secret) != string(want.Secret) || len(got.Tenants) != len(want.Tenants) {
		w.t.Errorf("%+v, want %+v", got, want)
	}
	got.CreatedAt, got.UpdatedAt, got.Secret, got.Tenants = want.CreatedAt, want.UpdatedAt, want.Secret, want.Tenants
	if !reflect.DeepEqual(got, want) {
		w.t.Errorf("provider is\n%+v, want\n%+v", got, want)
	}
}
