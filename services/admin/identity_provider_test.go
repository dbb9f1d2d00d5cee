package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
)

const providersPath = "/v1/tenants/acme/identityProviders"

// withProviders has the tenant acme with a provider of its own, and one of the operator's, both
// called corp.
func withProviders(t *testing.T) *api {
	t.Helper()
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	searching := `{"display_name": "Corp", "ldap": {"servers": ["ldaps://ldap.example"], "bind_dn": "cn=berth,dc=example", "bind_password": "secret of berth", "user_base": "dc=example"}}`
	a.call(200, "POST", providersPath+"?identity_provider_id=corp", searching)
	a.call(200, "POST", "/v1/identityProviders?identity_provider_id=corp", searching)
	return a
}

func TestV26_IdentityProvidersNeverShowTheirPassword(t *testing.T) {
	a := withProviders(t)
	for _, path := range []string{providersPath + "/corp", "/v1/identityProviders/corp"} {
		got := a.call(200, "GET", path, "")
		ldap := got["ldap"].(map[string]any)
		if ldap["bind_password"] != "" || ldap["bind_password_set"] != true || got["kind"] != "LDAP" || got["refresh_interval"] != "300s" || got["directory_grace"] != "3600s" || strings.Contains(fmt.Sprint(got), "secret of berth") {
			t.Errorf("%s: %v", path, got)
		}
		_, read := a.send(operatorToken, "GET", path, "")
		if again := a.call(200, "PATCH", path, string(read)); again["etag"] != got["etag"] { // as it was read
			t.Errorf("%s: %v", path, again)
		}
		changed := a.call(200, "PATCH", path, `{"ldap": {"user_base": "ou=people,dc=example"}}`)
		if now := changed["ldap"].(map[string]any); now["bind_password_set"] != true || now["user_base"] != "ou=people,dc=example" || now["bind_dn"] != ldap["bind_dn"] || changed["etag"] == got["etag"] {
			t.Errorf("%s: %v", path, changed)
		}
		for _, servers := range []string{`"servers": ["ldaps://evil.example"]`, `"servers": ["ldaps://ldap.example"], "insecure": true`} {
			refused := a.call(400, "PATCH", path, `{"ldap": {`+servers+`}}`)
			if !strings.Contains(fmt.Sprint(refused), "bind_password") {
				t.Errorf("%s: %v", path, refused)
			}
		}
	}
	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events", ""), a.call(200, "GET", "/v1/events", ""))
	if strings.Contains(events, "secret of berth") || strings.Count(events, "identityProvider.update") != 2 || strings.Count(events, "identityProvider.create") != 2 {
		t.Errorf("%s", events)
	}
}

func TestV26_IdentityProvidersRefuseWhatCannotBe(t *testing.T) {
	a := withProviders(t)
	for body, field := range map[string]string{
		`{}`: "ldap",
		`{"ldap": {"servers": [], "user_dn": "uid={name},dc=example"}}`:                                                      "servers",
		`{"ldap": {"servers": ["http://ldap.example"], "user_dn": "uid={name},dc=example"}}`:                                 "servers",
		`{"ldap": {"servers": ["ldaps://ldap.example"]}}`:                                                                    "bind_dn",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "bind_dn": "cn=berth,dc=example"}}`:                                  "bind_password",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example", "user_base": "no dn"}}`:          "user_base",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example", "user_filter": "(uid={name}"}}`:  "user_filter",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example", "ca_certificates": "no PEM"}}`:   "ca_certificates",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}, "refresh_interval": "1s"}`:      "refresh_interval",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}, "tenants": ["tenants/acme"]}`:   "tenants",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example", "name_attribute": "two words"}}`: "name_attribute",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example", "schema": "NOVELL"}}`:            "schema",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}, "display_name": "two\nlines"}`:  "display_name",
		`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}, "unknown": true}`:               "unknown",
	} {
		if got := a.call(400, "POST", providersPath+"?identity_provider_id=other", body); !strings.Contains(fmt.Sprint(got), field) {
			t.Errorf("%s: %v", body, got)
		}
	}
	a.call(400, "POST", "/v1/identityProviders?identity_provider_id=other", `{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}, "tenants": ["tenants/none"]}`)
	a.call(409, "POST", providersPath+"?identity_provider_id=corp", corpDirectory)
	if got := a.call(200, "GET", providersPath, "")["identity_providers"].([]any); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestV27_TheOperatorOffersProviders(t *testing.T) {
	a := withProviders(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	a.call(200, "POST", "/v1/identityProviders?identity_provider_id=few", `{"tenants": ["tenants/other"], "ldap": {"servers": ["ldap://10.0.0.1"], "user_dn": "uid={name},dc=example"}}`)
	admin := a.account("acme", "admin", "ADMIN")
	offered := func(slug string) string {
		resp, text := a.send(operatorToken, "GET", "/v1/tenants/"+slug+"/identityProviders:listOffered", "")
		if resp.StatusCode != 200 || strings.Contains(string(text), "ldap.example") {
			t.Errorf("%s: %d %s", slug, resp.StatusCode, text)
		}
		return string(text)
	}
	if got := offered("acme"); !strings.Contains(got, `"identityProviders/corp"`) || strings.Contains(got, "few") {
		t.Errorf("acme: %s", got)
	}
	if got := offered("other"); !strings.Contains(got, `"identityProviders/few"`) {
		t.Errorf("other: %s", got)
	}
	for _, call := range [][2]string{{"GET", "/v1/identityProviders"}, {"GET", "/v1/identityProviders/corp"}, {"POST", "/v1/identityProviders?identity_provider_id=mine"}, {"PATCH", "/v1/identityProviders/corp"}, {"DELETE", "/v1/identityProviders/corp"}} {
		if resp, text := a.send(admin, call[0], call[1], ""); resp.StatusCode != 403 {
			t.Errorf("%s by a tenant's admin: %d %s", call, resp.StatusCode, text)
		}
	}
	if resp, text := a.send(admin, "GET", providersPath+"/corp", ""); resp.StatusCode != 200 {
		t.Errorf("its own: %d %s", resp.StatusCode, text)
	}

	a.call(200, "DELETE", "/v1/tenants/other?force=true", "")
	few := a.call(200, "GET", "/v1/identityProviders/few", "")
	if fmt.Sprint(few["tenants"]) != "[tenants/other (deleted)]" {
		t.Errorf("%v", few)
	}
	if again := a.call(200, "PATCH", "/v1/identityProviders/few", `{"tenants": ["tenants/other (deleted)"]}`); again["etag"] != few["etag"] {
		t.Errorf("%v", again)
	}
}

func TestV28_GroupsNameGroupsOfProviders(t *testing.T) {
	a := withProviders(t)
	a.call(200, "POST", "/v1/identityProviders?identity_provider_id=few", `{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}}`)
	group := a.call(200, "POST", "/v1/tenants/acme/groups?group_id=dev", `{"identity_groups": [
		{"provider": "identityProviders/corp", "group": "Dev"}, {"provider": "tenants/acme/identityProviders/corp", "group": "dev"}]}`)
	if got := fmt.Sprint(group["identity_groups"]); strings.Count(got, "group:dev") != 2 || !strings.Contains(got, "provider:identityProviders/corp") || !strings.Contains(got, "provider:tenants/acme/identityProviders/corp") {
		t.Errorf("%v", group)
	}
	if again := a.call(200, "PATCH", "/v1/tenants/acme/groups/dev", `{"identity_groups": [
		{"provider": "identityProviders/corp", "group": "dev"}, {"provider": "tenants/acme/identityProviders/corp", "group": "DEV"}]}`); again["etag"] != group["etag"] {
		t.Errorf("%v", again)
	}
	a.call(400, "DELETE", providersPath+"/corp", "")
	a.call(400, "DELETE", "/v1/identityProviders/corp", "")
	for _, wrong := range []string{
		`{"provider": "identityProviders/none", "group": "dev"}`, `{"provider": "tenants/other/identityProviders/corp", "group": "dev"}`,
		`{"provider": "corp", "group": "dev"}`, `{"provider": "identityProviders/corp", "group": ""}`,
	} {
		if got := a.call(400, "PATCH", "/v1/tenants/acme/groups/dev", `{"identity_groups": [`+wrong+`]}`); !strings.Contains(fmt.Sprint(got), "identity_groups[0]") {
			t.Errorf("%s: %v", wrong, got)
		}
	}
	a.call(200, "DELETE", "/v1/tenants/acme/groups/dev", "")
	a.call(200, "DELETE", providersPath+"/corp", "")
}

func TestV29_AUserOfAProviderHasNoPasswordHere(t *testing.T) {
	a := withProviders(t)
	acme, err := a.store.FindTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	corp, err := a.store.FindIdentityProvider(t.Context(), acme.ID, "corp")
	if err != nil {
		t.Fatal(err)
	}
	person := meta.Person{Account: meta.Account{Tenant: acme.ID, DisplayName: "Max"}, Provider: corp.ID, Subject: "s-max"}
	if _, err := a.store.CreatePerson(t.Context(), meta.Cause{Op: uuid.New()}, person, []string{"max"}, meta.PersonReading{LoginName: "Max", Groups: []string{"dev"}}); err != nil {
		t.Fatal(err)
	}
	got := a.call(200, "GET", "/v1/tenants/acme/users/max", "")
	identity, ok := got["identity"].(map[string]any)
	if !ok || identity["provider"] != "tenants/acme/identityProviders/corp" || identity["login_name"] != "Max" || fmt.Sprint(identity["groups"]) != "[dev]" || got["role"] != "MEMBER" {
		t.Errorf("%v", got)
	}
	a.call(400, "PATCH", "/v1/tenants/acme/users/max", `{"password": "another password"}`)
	a.call(200, "PATCH", "/v1/tenants/acme/users/max", `{"role": "WRITER"}`)
	mine := a.keyOf("acme", access.UserKind, "max", "k", time.Time{})
	if resp, text := a.send(mine, "GET", "/v1/caller", ""); resp.StatusCode != 200 || !strings.Contains(string(text), `"users/max"`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	a.call(200, "DELETE", providersPath+"/corp", "")
	if got := a.call(200, "GET", "/v1/tenants/acme/users/max", ""); got["identity"].(map[string]any)["provider"] != "" {
		t.Errorf("%v", got)
	}
}

func TestV30_SeedFilesHaveIdentityProviders(t *testing.T) {
	a := newAPI(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "seed.yaml")
	for name, text := range map[string]string{file: `
identity_providers:
  - id: corp
    tenants: [tenants/acme]
    ldap: {servers: [ldaps://ldap.example], bind_dn: "cn=berth,dc=example", bind_password_file: bind.password, user_base: "dc=example"}
tenants:
  - id: acme
    identity_providers:
      - id: own
        refresh_interval: 2m
        ldap: {servers: [ldaps://own.example], user_dn: "uid={name},dc=example"}
    groups:
      - id: dev
        identity_groups:
          - {provider: identityProviders/corp, group: dev}
          - {provider: tenants/acme/identityProviders/own, group: dev}
`, filepath.Join(dir, "bind.password"): "secret of berth\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var etags []any
	for range 2 {
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		group := a.call(200, "GET", "/v1/tenants/acme/groups/dev", "")
		corp := a.call(200, "GET", "/v1/identityProviders/corp", "")
		own := a.call(200, "GET", providersPath+"/own", "")
		etags = append(etags, group["etag"], own["etag"])
		if len(group["identity_groups"].([]any)) != 2 || corp["ldap"].(map[string]any)["bind_password_set"] != true || own["refresh_interval"] != "120s" {
			t.Errorf("%v %v %v", group, corp, own)
		}
	}
	if etags[0] != etags[2] || etags[1] != etags[3] {
		t.Errorf("applying it again changed something: %v", etags)
	}
}
