package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const corpIssuer = `{"display_name": "Corp", "oidc": {
	"issuer": "https://login.example.org/realms/corp", "client_id": "berth", "client_secret": "secret of berth", "scopes": ["groups"], "groups_claim": "realm_access.roles"}}`

// TestV70_IssuersAreIdentityProviders of their own kind, whose secret is sealed and never shown.
func TestV70_IssuersAreIdentityProviders(t *testing.T) {
	a := newAPI(t, func(c *Config, _ *Options) { c.LoginURL = "https://berth.example.com" })
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	redirects := map[string]bool{}
	for path, parent := range map[string]string{providersPath: "tenants/acme/", "/v1/identityProviders": ""} {
		made := a.call(200, "POST", path+"?identity_provider_id=corp", corpIssuer)
		is := made["oidc"].(map[string]any)
		if made["name"] != parent+"identityProviders/corp" || made["kind"] != "OIDC" || made["ldap"] != nil || is["client_secret"] != "" || is["client_secret_set"] != true ||
			is["groups_max_age"] != "43200s" || made["refresh_interval"] != "300s" || made["directory_grace"] != "3600s" || is["groups_claim"] != "realm_access.roles" {
			t.Errorf("%v", made)
		}
		redirect := is["redirect_uri"].(string)
		if redirects[redirect] || !regexp.MustCompile(`^https://berth\.example\.com/v1/login/callback/\d+$`).MatchString(redirect) {
			t.Errorf("the redirect URI %s", redirect)
		}
		redirects[redirect] = true
		path += "/corp"
		if same := a.call(200, "PATCH", path, `{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": "berth", "scopes": ["groups"], "groups_claim": "realm_access.roles"}}`); same["etag"] != made["etag"] {
			t.Errorf("%v", same)
		}
		changed := a.call(200, "PATCH", path+"?update_mask=oidc.groups_claim", `{"oidc": {"groups_claim": "groups"}}`)
		if is := changed["oidc"].(map[string]any); is["groups_claim"] != "groups" || is["client_secret_set"] != true || is["client_id"] != "berth" || is["redirect_uri"] != redirect {
			t.Errorf("%v", changed)
		}
		for body, field := range map[string]string{
			`{"oidc": {"issuer": "https://other.example.org", "client_id": "berth"}}`:                                         "oidc.issuer",
			`{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": "other", "scopes": ["groups"]}}`:       "oidc.client_secret",
			`{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}}`:                             "oidc",
			`{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": "berth", "groups_max_age": "60s"}}`:    "oidc.groups_max_age",
			`{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": "berth", "scopes": ["two words"]}}`:    "oidc.scopes[0]",
			`{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": "berth", "username_claim": "ä"}}`:      "oidc.username_claim",
			`{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": "berth", "groups_claim": "a\u0000b"}}`: "oidc.groups_claim",
			`{"oidc": {"issuer": "https://login.example.org/realms/corp", "client_id": ""}}`:                                  "oidc.client_id",
			`{"oidc": {"issuer": "http://login.example.org/realms/corp", "client_id": "berth"}}`:                              "oidc.issuer",
		} {
			if got := fmt.Sprint(a.call(400, "PATCH", path, body)); !strings.Contains(got, "field:"+field+" ") {
				t.Errorf("%s: %s", body, got)
			}
		}
	}
	a.call(400, "PATCH", providersPath+"/corp?update_mask=*", `{"ldap": {"servers": ["ldaps://ldap.example"], "user_dn": "uid={name},dc=example"}}`)
	for _, issuer := range []string{"", "login.example.org", "https://user@login.example.org", "https://login.example.org?x=1", "https://login.example.org/" + strings.Repeat("a", 500)} {
		if got := fmt.Sprint(a.call(400, "POST", providersPath+"?identity_provider_id=other", fmt.Sprintf(`{"oidc": {"issuer": %q, "client_id": "berth"}}`, issuer))); !strings.Contains(got, "oidc.issuer") {
			t.Errorf("%s: %s", issuer, got)
		}
	}
	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events", ""), a.call(200, "GET", "/v1/events", ""))
	if strings.Contains(events, "secret of berth") || strings.Count(events, "identityProvider.update") != 2 || strings.Count(events, "identityProvider.create") != 2 {
		t.Errorf("%s", events)
	}
	public := a.call(200, "POST", providersPath+"?identity_provider_id=public", `{"oidc": {"issuer": "https://login.example.org", "client_id": "berth"}}`)
	if public["oidc"].(map[string]any)["client_secret_set"] != false {
		t.Errorf("%v", public)
	}
	placeholder := a.call(200, "POST", providersPath+"?identity_provider_id=placeholder", fmt.Sprintf(`{"oidc": {"issuer": "https://login.example.org", "client_id": "berth", "client_secret": %q}}`, unchangedSecret))
	if placeholder["oidc"].(map[string]any)["client_secret_set"] != false {
		t.Errorf("%v", placeholder)
	}
	given := a.call(200, "PATCH", providersPath+"/public?update_mask=oidc.client_secret", `{"oidc": {"client_secret": "secret of berth"}}`)
	if given["oidc"].(map[string]any)["client_secret_set"] != true || given["etag"] == public["etag"] {
		t.Errorf("%v", given)
	}
}

func TestV70_SeedFilesHaveIssuers(t *testing.T) {
	a := newAPI(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "seed.yaml")
	for name, text := range map[string]string{file: `
identity_providers:
  - id: corp
    oidc: {issuer: "https://login.example.org", client_id: berth, client_secret_file: client.secret, groups_claim: groups}
tenants:
  - id: acme
    identity_providers:
      - id: own
        oidc: {issuer: "https://own.example.org", client_id: berth, groups_max_age: 1h}
    groups:
      - {id: dev, identity_groups: [{provider: identityProviders/corp, group: Dev}]}
`, filepath.Join(dir, "client.secret"): "secret of berth\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var etags []any
	for range 2 {
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		corp, own := a.call(200, "GET", "/v1/identityProviders/corp", ""), a.call(200, "GET", providersPath+"/own", "")
		group := a.call(200, "GET", "/v1/tenants/acme/groups/dev", "")
		if corp["oidc"].(map[string]any)["client_secret_set"] != true || own["oidc"].(map[string]any)["groups_max_age"] != "3600s" || !strings.Contains(fmt.Sprint(group), "group:Dev") {
			t.Errorf("%v %v %v", corp, own, group)
		}
		etags = append(etags, own["etag"])
	}
	if etags[0] != etags[1] {
		t.Errorf("applying it again changed something: %v", etags)
	}
}
