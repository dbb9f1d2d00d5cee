package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	simulate = "/v1/tenants/acme:simulateRetention"
	snapshot = `"rules": [{"name": "stable", "action": "KEEP", "tags": ["stable"]}, {"name": "rest", "action": "DELETE"}]`
)

// decisions reads all pages, and returns what each decision is about, with what protects it.
func decisions(a *api, body string) []string {
	var all []string
	for token := ""; ; {
		page := a.call(200, "POST", simulate, fmt.Sprintf(`{%s, "page_token": %q}`, body, token))
		for _, one := range page["decisions"].([]any) {
			d := one.(map[string]any)
			_, repository, _ := strings.Cut(d["repository"].(string), "/registries/")
			said := strings.Join([]string{repository, fmt.Sprint(d["tag"], d["tags"]), d["rule"].(string)}, " ")
			if rule := d["tag_rule"].(string); rule != "" {
				said += " protected by " + rule
			}
			all = append(all, said)
		}
		if token = page["next_page_token"].(string); token == "" {
			return all
		}
	}
}

func TestW127_ASimulationSaysWhatWouldGo(t *testing.T) {
	a := ruleAPI(t)
	for _, name := range []string{"app", "team/app"} {
		for _, tag := range []string{"v1", "v2", "v3", "1.0.0", "stable"} {
			a.push("acme", "dev", name, tag)
		}
	}
	a.push("acme", "main", "other", "v1")
	a.call(200, "POST", ofTagRules+"?tag_rule_id=releases", `{"classes": ["RELEASE"], "no_delete": true}`)
	a.call(200, "POST", ofRetention+"?retention_policy_id=bb", `{"registry": "dev", `+snapshot+`}`)
	a.call(200, "POST", ofRetention+"?retention_policy_id=aa", `{"repositories": ["team/*"], "mode": "ENFORCE", "rules": [{"name": "all", "action": "KEEP"}]}`)
	whole := decisions(a, `"policy": "bb"`)
	if len(whole) == 0 || !slices.ContainsFunc(whole, func(s string) bool {
		return strings.Contains(s, "1.0.0") && strings.Contains(s, "protected by releases")
	}) {
		t.Fatalf("%q", whole)
	}
	for _, said := range whole {
		if !strings.HasPrefix(said, "dev/repositories/app ") || !strings.Contains(said, " rest") || strings.Contains(said, "stable") {
			t.Errorf("%s", said)
		}
	}
	if paged := decisions(a, `"policy": "bb", "page_size": 1`); !slices.Equal(paged, whole) {
		t.Errorf("page by page %q, at once %q", paged, whole)
	}
	if inline := decisions(a, `"retention_policy": {`+snapshot+`}, "registry": "dev", "repository": "app"`); !slices.Equal(inline, whole) {
		t.Errorf("given with the request %q, stored %q", inline, whole)
	}
	everywhere := decisions(a, `"retention_policy": {`+snapshot+`}, "page_size": 2`)
	for _, name := range []string{"dev/repositories/app ", "dev/repositories/team/app ", "main/repositories/other "} {
		if !slices.ContainsFunc(everywhere, func(s string) bool { return strings.HasPrefix(s, name) }) {
			t.Errorf("nothing about %s in %q", name, everywhere)
		}
	}
	total := a.call(200, "POST", simulate, `{"policy": "bb"}`)["repositories"].([]any)[0].(map[string]any)
	if fmt.Sprint(total["tags"]) != "5" || fmt.Sprint(total["protected"]) != "1" || total["deleted_tags"] == "0" {
		t.Errorf("%v", total)
	}
	for field, body := range map[string]string{
		"policy":             `{}`,
		"policy ":            `{"policy": "none"}`,
		"policy is not both": `{"policy": "bb", "retention_policy": {` + snapshot + `}}`,
		"registry":           `{"policy": "bb", "repository": "app"}`,
		"registry ":          `{"policy": "bb", "registry": "none", "repository": "app"}`,
		"repository":         `{"policy": "bb", "registry": "dev", "repository": "APP"}`,
		"rules[0].tags[0]":   `{"retention_policy": {"rules": [{"name": "all", "action": "KEEP", "tags": [""]}]}}`,
	} {
		field, _, _ = strings.Cut(field, " ")
		if got := fmt.Sprint(a.call(400, "POST", simulate, body)); !strings.Contains(got, "field:"+field) {
			t.Errorf("%s: %s", body, got)
		}
	}
	reader, admin := a.account("acme", "reader", "READER"), a.account("acme", "boss", "ADMIN")
	a.callAs(reader, 403, "POST", simulate, `{"policy": "bb"}`)
	a.callAs(admin, 200, "POST", simulate, `{"policy": "bb"}`)
}

func TestW128_ATagAndAManifestSayWhyTheyStayOrGo(t *testing.T) {
	a := ruleAPI(t)
	const app = "/v1/tenants/acme/registries/dev/repositories/app:explainRetention?reference="
	for _, tag := range []string{"v1", "1.0.0", "stable"} {
		a.push("acme", "dev", "app", tag)
	}
	why := func(reference string) string {
		var all []string
		for _, one := range a.call(200, "GET", app+url.QueryEscape(reference), "")["verdicts"].([]any) {
			v := one.(map[string]any)
			all = append(all, fmt.Sprint(v["policy"].(string)[len("tenants/acme/retentionPolicies/"):], v["mode"], v["goes"], v["reason"], v["rule"], v["tag_rule"]))
		}
		return strings.Join(all, ", ")
	}
	if got := why("v1"); got != "" {
		t.Errorf("without a policy: %s", got)
	}
	a.call(200, "POST", ofTagRules+"?tag_rule_id=releases", `{"classes": ["RELEASE"], "no_delete": true}`)
	a.call(200, "POST", ofRetention+"?retention_policy_id=aa", `{"rules": [{"name": "v", "action": "DELETE", "tags": ["v*"]}]}`)
	a.call(200, "POST", ofRetention+"?retention_policy_id=bb", `{"mode": "ENFORCE", `+snapshot+`}`)
	a.call(200, "POST", ofRetention+"?retention_policy_id=cc", `{"mode": "ENFORCE", `+snapshot+`}`)
	for reference, want := range map[string]string{
		"v1":     "aa OBSERVE true RULE v , bb ENFORCE true RULE rest ",
		"1.0.0":  "aa OBSERVE false NO_RULE  , bb ENFORCE false TAG_RULE rest releases",
		"stable": "aa OBSERVE false NO_RULE  , bb ENFORCE false RULE stable ",
	} {
		if got := why(reference); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %s, want %s", reference, got, want)
		}
	}
	a.call(404, "GET", app+"none", "")
	a.call(404, "GET", app+"sha256:"+strings.Repeat("0", 64), "")
	a.call(400, "GET", app+"-", "")
	member := a.account("acme", "member", "MEMBER")
	a.callAs(member, 403, "GET", app+"v1", "")
	a.rule("acme", "member", `"repositories": ["app"], "actions": ["ADMIN"]`)
	a.callAs(member, 200, "GET", app+"v1", "")
}
