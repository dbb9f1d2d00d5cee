package admin

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rule makes an access rule for one account.
func (a *api) rule(tenantID, account, gives string, id ...string) {
	a.t.Helper()
	a.call(200, "POST", "/v1/tenants/"+tenantID+"/accessRules?access_rule_id="+append(id, account)[0],
		fmt.Sprintf(`{"effect": "ALLOW", "principals": ["serviceAccounts/%s"], %s}`, account, gives))
}

// namesOf follows the pages of a list; each reads of the answer what key says.
func (a *api) namesOf(token, path, list string) ([]string, []string) {
	a.t.Helper()
	var names, tokens []string
	for next := ""; ; {
		m := a.callAs(token, 200, "GET", path+"&page_token="+next, "")
		for _, one := range m[list].([]any) {
			if r, ok := one.(map[string]any); ok {
				one = r["name"]
			}
			names = append(names, one.(string)[strings.LastIndex(one.(string), "ies/")+4:])
		}
		if next = m["next_page_token"].(string); next == "" {
			return names, tokens
		}
		tokens = append(tokens, next)
	}
}

func TestU67_AMemberSeesWhatItMayPull(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, r := range []string{"dev", "prod"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+r, "")
	}
	for _, name := range []string{"a/x", "m/secret", "team/a", "team/b", "team/b/c", "z/secret"} {
		a.push("acme", "dev", name, "v1")
	}
	member := a.account("acme", "dev", "MEMBER")
	a.rule("acme", "dev", `"registries": ["dev"], "repositories": ["team/*", "z/open"], "actions": ["PULL"]`)

	const dev = "/v1/tenants/acme/registries/dev"
	if got, _ := a.namesOf(member, "/v1/tenants/acme/registries?page_size=1", "registries"); !slices.Equal(got, []string{"dev"}) {
		t.Errorf("registries %q", got)
	}
	for order, want := range map[string][]string{"name": {"team/a", "team/b"}, "name+desc": {"team/b", "team/a"}} {
		got, tokens := a.namesOf(member, dev+"/repositories?page_size=1&order_by="+order, "repositories")
		if !slices.Equal(got, want) {
			t.Errorf("%s: repositories %q", order, got)
		}
		for _, token := range tokens {
			if raw, _ := base64.RawURLEncoding.DecodeString(token); strings.Contains(string(raw), "team") || strings.Contains(string(raw), "secret") {
				t.Errorf("a page token tells a name: %q", raw)
			}
		}
	}
	if got, _ := a.namesOf(member, dev+"/repositories?filter=name:%22e%22", "repositories"); !slices.Equal(got, []string{"team/a", "team/b"}) {
		t.Errorf("filtered repositories %q", got)
	}
	a.callAs(member, 200, "GET", dev+"/repositories/team/a", "")
	a.callAs(member, 200, "GET", dev+"/repositories/team/a:listTags", "")

	a.callAs(member, 403, "GET", dev+":resolve?reference=team/a:v1", "") // which may fill
	a.rule("acme", "dev", `"registries": ["dev"], "repositories": ["team/*"], "actions": ["PULL", "FILL"]`, "fill")
	for _, reference := range []string{"team/a:v1", "dev.acme.localhost/team/a:v1"} {
		m := a.callAs(member, 200, "GET", dev+":resolve?reference="+reference, "")
		if m["repository"] != "team/a" {
			t.Errorf("%s: %v", reference, m)
		}
	}
	a.callAs(member, 404, "GET", dev+":resolve?reference=m/secret:v1", "")
	a.callAs(member, 404, "GET", dev+":resolve?reference=team/b/c:v1", "")

	// Hidden and missing are the same, to the byte.
	for _, tail := range []string{"", ":listTags"} {
		var first string
		for _, name := range []string{"m/secret", "m/missing", "team/b/c", "team/missing", "z/open"} {
			for _, registry := range []string{"dev", "prod", "missing"} {
				resp, text := a.send(member, "GET", "/v1/tenants/acme/registries/"+registry+"/repositories/"+name+tail, "")
				if first == "" {
					first = string(text)
				}
				if resp.StatusCode != 404 || string(text) != first {
					t.Errorf("%s/%s%s: %d %s, not %s", registry, name, tail, resp.StatusCode, text, first)
				}
			}
		}
	}
	_, hidden := a.send(member, "GET", "/v1/tenants/acme/registries/prod", "")
	if _, missing := a.send(member, "GET", "/v1/tenants/acme/registries/missing", ""); string(hidden) != string(missing) {
		t.Errorf("a hidden registry: %s, a missing one: %s", hidden, missing)
	}
	a.call(200, "DELETE", "/v1/tenants/acme/accessRules/fill", "")
	a.call(200, "DELETE", "/v1/tenants/acme/accessRules/dev", "")
	if got, _ := a.namesOf(member, "/v1/tenants/acme/registries?page_size=1", "registries"); got != nil {
		t.Errorf("without the rule: registries %q", got)
	}
}

func TestU67_APageTokenOfAMemberIsForItsListAlone(t *testing.T) {
	plain, secret := pageTokens{key: []byte("page key of the tests")}, pageTokens{key: []byte("page key of the tests")}.secret()
	token := secret.seal("repositories", "p", "team/a")
	if got, err := secret.open("repositories", "p", token); err != nil || got != "team/a" {
		t.Fatalf("%q, %v", got, err)
	}
	for what, open := range map[string]func() (string, error){
		"another list":   func() (string, error) { return secret.open("tags", "p", token) },
		"another parent": func() (string, error) { return secret.open("repositories", "q", token) },
		"one who sees":   func() (string, error) { return plain.open("repositories", "p", token) },
		"a plain token": func() (string, error) {
			return secret.open("repositories", "p", plain.seal("repositories", "p", "team/a"))
		},
		"a changed token": func() (string, error) { return secret.open("repositories", "p", token[:len(token)-2]+"AA") },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestU68_ARegistryAdminGivesNoRights(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, r := range []string{"team-a", "prod"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+r, "")
	}
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=hub", `{"url": "https://registry.example"}`)
	a.call(200, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=chain", "")
	keeper := a.account("acme", "keeper", "MEMBER")
	a.rule("acme", "keeper", `"registries": ["team-*"], "repositories": ["**"], "actions": ["ADMIN"]`)
	a.push("acme", "team-a", "app", "v1")

	const own = "/v1/tenants/acme/registries/team-a"
	for _, body := range []string{`{"read_only": true}`, `{"delete_referrers": true}`, `{"missing_references": "ALLOW"}`} {
		a.callAs(keeper, 200, "PATCH", own, body)
	}
	for _, body := range []string{
		`{"anonymous_pull": true}`, `{"anonymous_push": true}`, `{"upstream_group": "chain"}`, `{"upstream_group": "missing"}`,
		`{"mirror_upstreams": ["hub"]}`, `{"mirror_upstreams": ["missing"]}`,
	} {
		if got := a.callAs(keeper, 403, "PATCH", own, body)["message"].(string); !strings.Contains(got, "only role ADMIN") {
			t.Errorf("%s: %s", body, got)
		}
	}
	a.callAs(keeper, 200, "GET", own+"/repositories/app", "") // also of a registry that is read-only
	a.callAs(keeper, 200, "GET", own+"/nameClaims", "")
	for _, r := range [][3]string{
		{"PATCH", "/v1/tenants/acme/registries/team-new?allow_missing=true", `{"read_only": true}`},
		{"PATCH", "/v1/tenants/acme/registries/prod", `{"read_only": true}`},
		{"DELETE", own, ""},
		{"POST", "/v1/tenants/acme/registries?registry_id=team-new", "{}"},
		{"PATCH", "/v1/tenants/acme/serviceAccounts/keeper", `{"role": "ADMIN"}`},
		{"POST", "/v1/tenants/acme/serviceAccounts/keeper/keys", `{}`},
		{"PATCH", "/v1/tenants/acme/accessRules/keeper", `{"registries": ["*"]}`},
		{"GET", "/v1/tenants/acme/accessRules", ""},
	} {
		a.callAs(keeper, 403, r[0], r[1], r[2])
	}
	a.callAs(keeper, 200, "DELETE", own+"/repositories/app", "")

	// What a rule takes from one repository leaves no admin of the whole registry.
	a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id=not-x",
		`{"effect": "DENY", "principals": ["authenticated"], "repositories": ["x/**"], "actions": ["ADMIN"]}`)
	a.callAs(keeper, 403, "PATCH", own, `{"read_only": false}`)
	a.callAs(keeper, 403, "DELETE", own+"/repositories/x/app", "")
	a.callAs(keeper, 404, "DELETE", own+"/repositories/y/app", "")
}

func TestU68_AnonymousCallersManageNothing(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	m := a.call(400, "POST", "/v1/tenants/acme/accessRules?access_rule_id=all",
		`{"effect": "ALLOW", "principals": ["anonymous"], "repositories": ["**"], "actions": ["ADMIN"]}`)
	if got := m["message"].(string); !strings.HasPrefix(got, "actions: ADMIN cannot be given to anonymous") {
		t.Error(got)
	}
}
