package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// lists are all that page, with the member that holds the rows.
var lists = map[string]string{
	"/v1/signingKeys":                               "signing_keys",
	"/v1/operators":                                 "operators",
	"/v1/operators/o1/tokens":                       "tokens",
	"/v1/tenants":                                   "tenants",
	"/v1/tenants/acme/registries":                   "registries",
	"/v1/tenants/acme/registries/main/repositories": "repositories",
	"/v1/tenants/acme/registries/main/repositories/r1:listTags": "tags",
	"/v1/tenants/acme/domains":                                  "domains",
	"/v1/tenants/acme/serviceAccounts":                          "service_accounts",
	"/v1/tenants/acme/serviceAccounts/s1/keys":                  "keys",
	"/v1/tenants/acme/users":                                    "users",
	"/v1/tenants/acme/users/u1/accessTokens":                    "access_tokens",
	"/v1/tenants/acme/serviceAccounts/s1/refreshTokens":         "refresh_tokens",
	"/v1/tenants/acme/users/u1/sessions":                        "sessions",
	"/v1/tenants/acme/events":                                   "events",
	"/v1/events":                                                "events",
	"/v1/tenants/acme/upstreams":                                "upstreams",
	"/v1/tenants/acme/upstreamGroups":                           "upstream_groups",
	"/v1/tenants/acme/mirrorHosts":                              "mirror_hosts",
	"/v1/tenants/acme/accessRules":                              "access_rules",
	"/v1/tenants/acme/promotionGates":                           "promotion_gates",
	"/v1/tenants/acme/webhooks":                                 "webhooks",
	"/v1/tenants/acme/pullRules":                                "pull_rules",
	"/v1/tenants/acme/tagRules":                                 "tag_rules",
	"/v1/tenants/acme/retentionPolicies":                        "retention_policies",
	"/v1/tenants/acme/prefetches":                               "prefetches",
	"/v1/tenants/acme/groups":                                   "groups",
	"/v1/tenants/acme/identityProviders":                        "identity_providers",
	"/v1/tenants/acme/identityProviders:listOffered":            "identity_providers",
	"/v1/identityProviders":                                     "identity_providers",
	"/v1/tenants/acme/upstreams/u1/repositories":                "repositories",
}

// fillLists gives each list five rows or more.
func fillLists(a *api) {
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for i := 1; i <= 5; i++ {
		a.call(200, "POST", fmt.Sprintf("/v1/tenants?tenant_id=t%d", i), "")
		a.call(200, "POST", fmt.Sprintf("/v1/operators?operator_id=o%d", i), "")
		a.call(200, "POST", "/v1/operators/o1/tokens", "")
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/registries?registry_id=r%d", i), "")
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/domains?domain_id=d%d.example", i), `{"registry": "main"}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/serviceAccounts?service_account_id=s%d", i), `{"role": "READER"}`)
		a.call(200, "POST", "/v1/tenants/acme/serviceAccounts/s1/keys", "")
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/users?user_id=u%d", i), `{"role": "READER"}`)
		a.call(200, "POST", "/v1/tenants/acme/users/u1/accessTokens", "")
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/upstreams?upstream_id=u%d", i), `{"url": "https://ghcr.io"}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/mirrorHosts?mirror_host_id=m%d", i), `{"upstream": "u1"}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/upstreamGroups?upstream_group_id=g%d", i), "")
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/accessRules?access_rule_id=a%d", i), pullRule)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/tagRules?tag_rule_id=t%d", i), `{"no_delete": true, "disabled": true}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/promotionGates?promotion_gate_id=t%d", i), `{"another_caller": true}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/webhooks?webhook_id=t%d", i), `{"url": "https://hooks.example.com/", "secret": "`+webhookSecret+`"}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/pullRules?pull_rule_id=t%d", i), `{"artifact_types": ["application/spdx+json"]}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/retentionPolicies?retention_policy_id=p%d", i), keepAll)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/prefetches?prefetch_id=p%d", i), `{"upstream": "u1", "references": ["app:1"]}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/groups?group_id=g%d", i), "")
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/identityProviders?identity_provider_id=p%d", i), corpDirectory)
		a.call(200, "POST", fmt.Sprintf("/v1/identityProviders?identity_provider_id=p%d", i), corpDirectory)
		a.cache("acme", "u1", fmt.Sprintf("r%d", i), "t1")
		a.refreshToken("acme", "s1", fmt.Sprintf("r%d", i))
		a.storedSession("acme", "u1", fmt.Sprintf("s%d", i))
		a.signingKey(fmt.Sprintf("k%d", i))
		a.push("acme", "main", fmt.Sprintf("r%d", i), "t1", "t2", "t3", "t4", "t5")
	}
}

func TestListsPage(t *testing.T) {
	a := newAPI(t)
	fillLists(a)
	for path, member := range lists {
		all := a.call(200, "GET", path+"?page_size=1000", "")[member].([]any)
		if len(all) < 5 {
			t.Errorf("%s: %d rows", path, len(all))
		}
		var paged []any
		token, pages := "", 0
		for {
			page := a.call(200, "GET", path+"?page_size=2&page_token="+url.QueryEscape(token), "")
			rows := page[member].([]any)
			paged = append(paged, rows...)
			token, pages = page["next_page_token"].(string), pages+1
			if token == "" {
				break
			}
			if len(rows) != 2 || pages > len(all) {
				t.Fatalf("%s: page %d has %d rows", path, pages, len(rows))
			}
		}
		if want := (len(all) + 1) / 2; pages != want || fmt.Sprint(paged) != fmt.Sprint(all) {
			t.Errorf("%s: %d pages, want %d:\n%v\n%v", path, pages, want, paged, all)
		}
	}
}

func TestA8_ListSizesClamp(t *testing.T) {
	a := newAPI(t)
	fillLists(a)
	sizes := map[string]int{
		"": 200, "0": 200, "1": 200, "2": 200, "100": 200, "999": 200, "1000": 200, "1001": 200, "65536": 200, "2147483647": 200,
		"-1": 400, "-2147483648": 400, "2147483648": 400, "1000000000000000000": 400, "99999999999999999999999": 400,
		"1e18": 400, "1.5": 400, "ten": 400, "' OR 1=1": 400, "\x00": 400,
	}
	for path, member := range lists {
		for size, want := range sizes {
			query := "?page_size=" + url.QueryEscape(size)
			if size == "" {
				query = ""
			}
			got := a.call(want, "GET", path+query, "")
			if want != 200 {
				reason(t, got)
			} else if rows := got[member].([]any); size == "1" && len(rows) != 1 || size != "1" && len(rows) < 2 {
				t.Errorf("%s%s: %d rows", path, query, len(rows))
			}
		}
		a.call(400, "GET", path+"?page_size=2&page_size=3", "")
		many := "?page_size=1" + strings.Repeat("&page_size=1", 1000)
		a.call(400, "GET", path+many, "")
	}
}

func TestC9_PageTokensAreOnlyOurs(t *testing.T) {
	a := newAPI(t)
	fillLists(a)
	tokens := map[string]string{}
	for path := range lists {
		tokens[path] = a.call(200, "GET", path+"?page_size=1", "")["next_page_token"].(string)
		if tokens[path] == "" {
			t.Fatalf("%s has one page", path)
		}
	}
	for path := range lists {
		for other, token := range tokens {
			if other == path {
				continue
			}
			if got := a.call(400, "GET", path+"?page_token="+token, ""); reason(t, got) != "PAGE_TOKEN_INVALID" {
				t.Errorf("%s with a token of %s: %v", path, other, got)
			}
		}
		for _, forged := range []string{"acme", "AAAA", "' OR pg_sleep(3) --", "1", strings.Repeat("A", 4000), tokens[path] + "A", tokens[path][1:]} {
			if got := a.call(400, "GET", path+"?page_token="+url.QueryEscape(forged), ""); reason(t, got) != "PAGE_TOKEN_INVALID" {
				t.Errorf("%s with %.20q: %v", path, forged, got)
			}
		}
		a.call(400, "GET", path+"?filter=password%3D~a", "")
		a.call(400, "GET", path+"?order_by=secret", "")
	}
}

func TestRepositories(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	// `team/tags` is a legal name, and so is one that ends like a sub-collection.
	for _, name := range []string{"app", "team/app", "team/tags", "repositories/x/repositories", "a/domains"} {
		a.push("acme", "main", name, "v1", "latest")
	}
	base := "/v1/tenants/acme/registries/main/repositories"
	var names []string
	for _, r := range a.call(200, "GET", base, "")["repositories"].([]any) {
		name := r.(map[string]any)["name"].(string)
		names = append(names, strings.TrimPrefix(name, "tenants/acme/registries/main/repositories/"))
		got := a.call(200, "GET", "/v1/"+name, "")
		if got["name"] != name || got["manifest_count"] != "1" || got["tag_count"] != "2" || got["create_time"] == nil {
			t.Errorf("%v", got)
		}
		tags := a.call(200, "GET", "/v1/"+name+":listTags", "")["tags"].([]any)
		if fmt.Sprint(tags) != "[latest v1]" {
			t.Errorf("%s: tags %v", name, tags)
		}
	}
	if want := []string{"a/domains", "app", "repositories/x/repositories", "team/app", "team/tags"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	a.call(200, "DELETE", base+"/team/app?validate_only=true", "")
	a.call(200, "DELETE", base+"/team/app", "")
	a.call(404, "GET", base+"/team/app", "")
	a.call(404, "GET", base+"/team/app:listTags", "")
	a.call(404, "DELETE", base+"/team/app", "")
	a.call(200, "DELETE", base+"/team/app?allow_missing=true", "")
	a.call(200, "GET", base+"/team/tags", "")
}
