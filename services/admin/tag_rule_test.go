package admin

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const ofTagRules = "/v1/tenants/acme/tagRules"

func TestW39_TagRulesOverREST(t *testing.T) {
	a := ruleAPI(t)
	body := `{"display_name": "Releases", "registry": "dev", "repositories": ["team/**"], "tags": ["v*"], "classes": ["RELEASE", "PRERELEASE"], "no_overwrite": true}`
	for _, path := range []string{ofTagRules + "?tag_rule_id=releases&validate_only=true", ofTagRules + "?tag_rule_id=releases"} {
		got := a.call(200, "POST", path, body)
		if got["name"] != "tenants/acme/tagRules/releases" || got["registry"] != "dev" || fmt.Sprint(got["classes"]) != "[RELEASE PRERELEASE]" ||
			fmt.Sprint(got["repositories"], got["tags"]) != "[team/**] [v*]" || got["no_overwrite"] != true || got["no_delete"] != false {
			t.Errorf("%s: %v", path, got)
		}
	}
	got := a.call(200, "PATCH", ofTagRules+"/releases", `{"classes": ["FLOATING"], "no_delete": true}`)
	if fmt.Sprint(got["classes"]) != "[FLOATING]" || got["no_delete"] != true || got["no_overwrite"] != true || got["registry"] != "dev" {
		t.Errorf("changed: %v", got)
	}
	a.call(400, "PATCH", ofTagRules+"/releases", `{"no_delete": false, "no_overwrite": false}`)
	a.call(200, "DELETE", "/v1/tenants/acme/registries/dev", "") // the rule stays, and can be changed
	a.call(200, "PATCH", ofTagRules+"/releases", `{"disabled": true}`)
	for field, value := range map[string]string{
		"registry":                  `"registry": "none"`,
		"registry ":                 `"registry": "NONE"`,
		"repositories[0]":           `"repositories": ["team/{a,b}"]`,
		"tags[1]":                   `"tags": ["v*", "[z-"]`,
		"tags[0]":                   `"tags": ["` + strings.Repeat("v", 129) + `"]`,
		"tags":                      `"tags": ` + many(65, "t%d"),
		"classes[0]":                `"classes": ["CLASS_UNSPECIFIED"]`,
		"classes[1]":                `"classes": ["RELEASE", "RELEASE"]`,
		"display_name":              `"display_name": "` + strings.Repeat("x", 201) + `"`,
		"no_overwrite":              `"no_delete": false`,
		"repositories[0] is empty ": `"repositories": [""]`,
	} {
		field, _, _ = strings.Cut(field, " ")
		rule := "{" + value + `, "no_delete": true}`
		if field == "no_overwrite" {
			rule = "{" + value + "}"
		}
		if got := fmt.Sprint(a.call(400, "POST", ofTagRules+"?tag_rule_id=wrong", rule)); !strings.Contains(got, "field:"+field+" ") {
			t.Errorf("%s: %s", field, got)
		}
	}
}

// TestW39_OnlyAdministratorsOverrideTagRules: the action ADMIN of an access rule is to delete
// repositories, and not what rules of the tenant protect.
func TestW39_OnlyAdministratorsOverrideTagRules(t *testing.T) {
	a := ruleAPI(t)
	const app = "/v1/tenants/acme/registries/dev/repositories/app"
	a.push("acme", "dev", "app", "1.0.0", "1.0.1", "latest")
	a.call(200, "POST", ofTagRules+"?tag_rule_id=releases", `{"classes": ["RELEASE"], "no_delete": true}`)
	keeper, admin := a.account("acme", "keeper", "MEMBER"), a.account("acme", "boss", "ADMIN")
	a.rule("acme", "keeper", `"repositories": ["**"], "actions": ["ADMIN"]`)
	for _, refused := range []struct{ method, path, body string }{
		{"DELETE", app, ""},
		{"DELETE", app + "?validate_only=true", ""},
		{"DELETE", app + "?override_tag_rules=true", ""},
		{"POST", app + ":deleteTag", `{"tag": "1.0.0"}`},
		{"POST", app + ":deleteTag", `{"tag": "1.0.0", "override_tag_rules": true}`},
	} {
		got := fmt.Sprint(a.callAs(keeper, 403, refused.method, refused.path, refused.body))
		if want := strings.Contains(refused.path+refused.body, "override"); strings.Contains(got, "only role ADMIN may override tag rules") != want || strings.Contains(got, "protected by tag rule releases") == want {
			t.Errorf("%s %s %s: %s", refused.method, refused.path, refused.body, got)
		}
	}
	a.callAs(keeper, 200, "POST", app+":deleteTag", `{"tag": "latest"}`)
	a.callAs(keeper, 404, "POST", app+":deleteTag", `{"tag": "latest"}`)
	a.callAs(keeper, 200, "POST", app+":deleteTag", `{"tag": "latest", "allow_missing": true}`)
	a.callAs(keeper, 400, "POST", app+":deleteTag", `{"tag": "-"}`)
	a.callAs(admin, 403, "DELETE", "/v1/tenants/acme/registries/dev?force=true", "")
	a.callAs(admin, 200, "POST", app+":deleteTag", `{"tag": "1.0.0", "override_tag_rules": true, "validate_only": true}`)
	a.callAs(admin, 200, "POST", app+":deleteTag", `{"tag": "1.0.0", "override_tag_rules": true}`)
	a.callAs(admin, 200, "DELETE", app+"?override_tag_rules=true", "")
	events := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events?filter="+url.QueryEscape(`verb="tag.delete"`), "")["events"].([]any)[0])
	if !strings.Contains(events, "tag_rule releases") || !strings.Contains(events, "overridden") {
		t.Errorf("the event says %s", events)
	}
}

const tagRuleSeed = `
tenants:
  - id: acme
    registries: [{id: dev}]
    tag_rules:
      - {id: releases, registry: dev, classes: [RELEASE, PRERELEASE], no_overwrite: true, no_delete: true}
      - {id: stable, tags: [stable], no_delete: true}
`

func TestW40_SeedFilesHaveTagRules(t *testing.T) {
	a := newAPI(t)
	file := writeSeed(t, tagRuleSeed, nil)
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", wrong, elsewhere)
	}
	for range 2 { // the second time changes nothing
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		got := a.call(200, "GET", ofTagRules+"/releases", "")
		if got["etag"] != "1" || got["registry"] != "dev" || fmt.Sprint(got["classes"]) != "[RELEASE PRERELEASE]" || got["no_delete"] != true {
			t.Errorf("%v", got)
		}
	}
	for part, wrong := range map[string]string{
		"tag_rules[0].classes": strings.Replace(tagRuleSeed, "RELEASE, PRERELEASE", "RELEASES", 1),
		"tag_rules[1].tags[0]": strings.Replace(tagRuleSeed, "[stable]", `["["]`, 1),
		"tag_rules[1].id":      strings.Replace(tagRuleSeed, "id: stable", "id: releases", 1),
	} {
		found, _ := checkSeedOf(t, a, writeSeed(t, wrong, nil))
		if len(found) != 1 || !strings.Contains(fmt.Sprint(found), part) {
			t.Errorf("%s: %v", part, found)
		}
	}
	_, elsewhere := checkSeedOf(t, a, writeSeed(t, strings.Replace(tagRuleSeed, "registry: dev", "registry: prod", 1), nil))
	if len(elsewhere) != 1 || !strings.Contains(fmt.Sprint(elsewhere), "tag_rules[0].registry") {
		t.Errorf("elsewhere: %v", elsewhere)
	}
}

// TestW54_HistoryIsShownToThoseWhoMayPull lists the changes of a tag that was deleted.
func TestW54_HistoryIsShownToThoseWhoMayPull(t *testing.T) {
	a := ruleAPI(t)
	const history = "/v1/tenants/acme/registries/dev/repositories/team/app:listTagHistory"
	a.push("acme", "dev", "team/app", "v1")
	a.call(200, "POST", "/v1/tenants/acme/registries/dev/repositories/team/app:deleteTag", `{"tag": "v1"}`)
	reader, stranger := a.account("acme", "reader", "MEMBER"), a.account("acme", "stranger", "MEMBER")
	a.rule("acme", "reader", `"repositories": ["team/*"], "actions": ["PULL"]`)
	a.callAs(stranger, 404, "GET", history+"?tag=v1", "")
	a.callAs(reader, 400, "GET", history, "")
	if got := a.callAs(reader, 200, "GET", history+"?tag=none", ""); len(got["changes"].([]any)) != 0 {
		t.Errorf("of no tag: %v", got)
	}
	var verbs, actors []string
	for next := ""; ; {
		got := a.callAs(reader, 200, "GET", history+"?tag=v1&page_size=1&page_token="+url.QueryEscape(next), "")
		for _, one := range got["changes"].([]any) {
			c := one.(map[string]any)
			verbs, actors = append(verbs, c["verb"].(string)), append(actors, c["actor"].(string))
			if deleted := c["verb"] == "DELETE"; (c["digest"] == "") != deleted || (c["previous_digest"] == "") == deleted || c["time"] == nil {
				t.Errorf("%v", c)
			}
		}
		if next = got["next_page_token"].(string); next == "" {
			break
		}
	}
	if fmt.Sprint(verbs) != "[DELETE PUSH]" || fmt.Sprint(actors) != "[operator serviceAccounts/ci]" {
		t.Errorf("%q by %q", verbs, actors)
	}
}
