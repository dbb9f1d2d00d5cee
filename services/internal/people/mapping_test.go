package people

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/login"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// perTeam makes a registry for each group berth-NAME-dev.
var perTeam = meta.Mapping{Pattern: "berth-(?P<name>[a-z0-9-]+)-dev", Registry: "{name}", Group: "{name}-dev", Actions: (access.Pull | access.Fill | access.Push).String(), Repositories: []string{"img/**"}}

func newMapped(t *testing.T, mappings ...meta.Mapping) *world {
	w := newWorld(t)
	w.provider.Settings.Mappings, w.provider.Version = mappings, 0
	_, err := w.UpdateIdentityProvider(t.Context(), by(), w.provider)
	w.must(err)
	return w
}

// skips are why groups were skipped, of the log of a tenant.
func (w *world) skips(id tenant.ID) []string {
	w.t.Helper()
	events, err := w.ListEvents(w.t.Context(), id, meta.Page{Size: 1000})
	w.must(err)
	var found []string
	for _, e := range events {
		if e.Verb == "identityProvider.skip" {
			changes, err := meta.DecodeChanges(e.Changes)
			w.must(err)
			found = append(found, changes[0].Old+": "+changes[0].New)
		}
	}
	slices.Sort(found)
	return found
}

func TestV99_MappingsMakeWhatIsMissingOnce(t *testing.T) {
	w := newMapped(t, perTeam)
	w.corp.put("max", "berth-web-dev", "staff", "berth-web-dev-old")
	w.enters("max", "max")
	groups, _, err := w.GroupsOf(t.Context(), w.tenant, "users/max")
	if err != nil || !slices.Equal(groups, []string{"groups/web-dev"}) {
		t.Errorf("%q, %v", groups, err)
	}
	rule, err := w.FindAccessRule(t.Context(), w.tenant, "web-dev")
	if err != nil || rule.Deny || !slices.Equal(rule.Principals, groups) || !slices.Equal(rule.Registries, []string{"web"}) || !slices.Equal(rule.Repositories, []string{"img/**"}) || rule.Actions != access.Pull|access.Fill|access.Push {
		t.Errorf("%+v, %v", rule, err)
	}
	registries, err := w.ListRegistries(t.Context(), w.tenant, meta.Page{Size: 9})
	if err != nil || len(registries) != 2 {
		t.Errorf("%+v, %v", registries, err)
	}
	events, err := w.ListEvents(t.Context(), w.tenant, meta.Page{Size: 3})
	w.must(err)
	for i, verb := range []string{"accessRule.create", "group.create", "registry.create"} {
		if events[i].Verb != verb || events[i].Actor != "identityProviders/corp" {
			t.Errorf("%+v", events[i])
		}
	}
	w.must(w.DeleteAccessRule(t.Context(), by(), w.tenant, "web-dev", 0)) // by an administrator
	w.must(w.DeletePrincipalGroup(t.Context(), by(), w.tenant, "web-dev", 0))
	w.must(w.DeleteRegistry(t.Context(), by(), w.tenant, "web", 0, true))
	w.now = w.now.Add(memory)
	w.enters("max", "max")
	w.corp.put("max", "berth-web-dev", "berth-app-dev") // in a group that is new, without a login
	w.pass(5 * time.Minute)
	if _, err := w.FindRegistry(t.Context(), w.tenant, "app"); err != nil {
		t.Error(err)
	}
	for _, find := range []func() error{
		func() error { _, err := w.FindRegistry(t.Context(), w.tenant, "web"); return err },
		func() error { _, err := w.FindPrincipalGroup(t.Context(), w.tenant, "web-dev"); return err },
		func() error { _, err := w.FindAccessRule(t.Context(), w.tenant, "web-dev"); return err },
	} {
		if err := find(); !fault.Is(err, fault.ResourceUnknown) {
			t.Errorf("what was deleted is back: %v", err)
		}
	}
	if skipped := w.skips(w.tenant); len(skipped) != 0 {
		t.Errorf("%q", skipped)
	}
}

func TestV100_MappingsTakeOverNothing(t *testing.T) {
	read := perTeam
	read.Pattern, read.Group, read.Actions = "berth-(?P<name>.+)-read", "{name}-read", access.Pull.String()
	w := newMapped(t, perTeam, read)
	_, err := w.CreateRegistry(t.Context(), by(), meta.Registry{Tenant: w.tenant, Slug: "prod"})
	w.must(err)
	_, err = w.CreatePrincipalGroup(t.Context(), by(), meta.PrincipalGroup{Tenant: w.tenant, Slug: "app-dev"})
	w.must(err)
	w.corp.put("max", "berth-prod-dev", "berth-main-dev", "berth-app-dev", "berth-web-dev", "berth-web-read", "berth-x--y-read", "berth-../up-read")
	for range 2 {
		w.enters("max", "max")
		w.now = w.now.Add(memory)
	}
	skipped := w.skips(w.tenant)
	if len(skipped) != 5 {
		t.Errorf("%q", skipped)
	}
	for i, want := range []string{
		"berth-../up-read: ", "berth-app-dev: ", "berth-main-dev: registry main exists already", "berth-prod-dev: registry prod exists already", "berth-x--y-read: ",
	} {
		if !strings.HasPrefix(skipped[i], want) {
			t.Errorf("%q, want %q", skipped[i], want)
		}
	}
	groups, _, err := w.GroupsOf(t.Context(), w.tenant, "users/max")
	if err != nil || !slices.Equal(groups, []string{"groups/web-dev", "groups/web-read"}) { // two mappings of one registry
		t.Errorf("%q, %v", groups, err)
	}
	registries, err := w.ListRegistries(t.Context(), w.tenant, meta.Page{Size: 9})
	if err != nil || len(registries) != 3 { // main, prod and web
		t.Errorf("%+v, %v", registries, err)
	}
	rules, err := w.ListAccessRules(t.Context(), w.tenant, meta.Page{Size: 9})
	if err != nil || len(rules) != 2 || rules[0].Slug != "web-dev" || rules[1].Slug != "web-read" {
		t.Errorf("%+v, %v", rules, err)
	}
}

func TestV101_MappingsOfTheOperatorMakeTenants(t *testing.T) {
	w := newWorld(t)
	head, people := w.addProvider(meta.Deployment, "head")
	perTenant := perTeam
	perTenant.Tenant, perTenant.Registry = "{name}", "dev"
	head.Settings.Mappings, head.Version = []meta.Mapping{perTenant}, 0
	_, err := w.UpdateIdentityProvider(t.Context(), by(), head)
	w.must(err)
	people.put("boss", "berth-beta-dev", "berth-acme-dev")
	w.enters("boss", "boss")
	beta, err := w.FindTenant(t.Context(), "beta")
	w.must(err)
	if rule, err := w.FindAccessRule(t.Context(), beta.ID, "beta-dev"); err != nil || !slices.Equal(rule.Registries, []string{"dev"}) {
		t.Errorf("%+v, %v", rule, err)
	}
	if _, err := w.FindRegistry(t.Context(), w.tenant, "dev"); !fault.Is(err, fault.ResourceUnknown) { // acme is an operator's own
		t.Errorf("%v", err)
	}
	if skipped := w.skips(meta.Deployment); len(skipped) != 1 || !strings.HasPrefix(skipped[0], "berth-acme-dev: tenant acme exists already") {
		t.Errorf("%q", skipped)
	}
	if skipped := w.skips(w.tenant); len(skipped) != 0 { // which learns of no other
		t.Errorf("%q", skipped)
	}
	id, err := w.people.Authenticate(t.Context(), login.Attempt{Tenant: beta.ID, Name: "boss", Secret: "password of boss"})
	if err != nil {
		t.Fatal(err)
	}
	if groups, _, err := w.GroupsOf(t.Context(), beta.ID, id.Principal.Name); err != nil || !slices.Equal(groups, []string{"groups/beta-dev"}) {
		t.Errorf("%q, %v", groups, err)
	}
	w.must(w.DeleteTenant(t.Context(), by(), "beta", 0, true))
	w.now = w.now.Add(memory)
	w.enters("boss", "boss")
	if _, err := w.FindTenant(t.Context(), "beta"); !fault.Is(err, fault.ResourceUnknown) {
		t.Errorf("what was deleted is back: %v", err)
	}
}

func TestV102_MappingsAreBoundedAndFailNoLogin(t *testing.T) {
	w := newMapped(t, perTeam, meta.Mapping{Pattern: "(", Registry: "x", Group: "x"}) // of a later version
	var groups []string
	for i := range 2 * maxMade {
		groups = append(groups, "berth-n"+string(rune('a'+i))+"-dev")
	}
	w.corp.put("max", groups...)
	w.enters("max", "max")
	for want := maxMade; want <= 2*maxMade; want += maxMade {
		rules, err := w.ListAccessRules(t.Context(), w.tenant, meta.Page{Size: 100})
		if err != nil || len(rules) != want {
			t.Fatalf("%d rules, %v; want %d", len(rules), err, want)
		}
		w.pass(5 * time.Minute)
	}
}
