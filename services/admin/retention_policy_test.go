package admin

import (
	"fmt"
	"strings"
	"testing"
)

const ofRetention = "/v1/tenants/acme/retentionPolicies"

func TestW120_RetentionPoliciesOverREST(t *testing.T) {
	a := ruleAPI(t)
	body := `{"display_name": "Old versions", "registry": "dev", "repositories": ["team/**"], "interval": "12h", "max_deletions": 50, "may_delete_protected": true, "rules": [
		{"name": "versions", "action": "KEEP", "classes": ["RELEASE"], "variants": ["none"], "versions": {"majors": 5, "minors": 3, "patches": -1}},
		{"name": "pulled", "action": "KEEP", "pulled_within": "720h"},
		{"name": "untagged", "action": "DELETE", "untagged": true, "older_than": "168h"},
		{"name": "rest", "action": "DELETE", "tags": ["v*"]}]}`
	for _, path := range []string{ofRetention + "?retention_policy_id=old&validate_only=true", ofRetention + "?retention_policy_id=old"} {
		got := a.call(200, "POST", path, body)
		rules := fmt.Sprint(got["rules"])
		if got["name"] != "tenants/acme/retentionPolicies/old" || got["registry"] != "dev" || got["mode"] != "OBSERVE" || got["interval"] != "43200s" || fmt.Sprint(got["max_deletions"]) != "50" {
			t.Errorf("%s: %v", path, got)
		}
		for _, part := range []string{"majors:5 minors:3", "patches:-1", "pulled_within:2592000s", "classes:[RELEASE]", "older_than:604800s", "untagged:true"} {
			if !strings.Contains(rules, part) {
				t.Errorf("%s: no %s in %s", path, part, rules)
			}
		}
	}
	got := a.call(200, "PATCH", ofRetention+"/old", `{"mode": "ENFORCE", "interval": "0s"}`)
	if got["mode"] != "ENFORCE" || got["next_run_time"] != nil || len(got["rules"].([]any)) != 4 || got["registry"] != "dev" {
		t.Errorf("changed: %v", got)
	}
	if got := a.call(200, "POST", ofRetention+"/old:run", ""); got["next_run_time"] == nil || got["run"] != nil {
		t.Errorf("asked for a run: %v", got)
	}
	a.call(200, "DELETE", "/v1/tenants/acme/registries/dev", "") // the policy stays, and can be changed
	a.call(200, "PATCH", ofRetention+"/old", `{"disabled": true}`)
	a.call(400, "POST", ofRetention+"/old:run", "")
}

func TestW120_ABadPolicyIsRefusedWithTheField(t *testing.T) {
	a := ruleAPI(t)
	const all = `"rules": [{"name": "all", "action": "KEEP"}]`
	rule := func(fields string) string { return `"rules": [{"name": "all", "action": "KEEP", ` + fields + `}]` }
	for field, value := range map[string]string{
		"rules":                        `"registry": "dev"`,
		"rules[0].name":                `"rules": [{"action": "KEEP"}]`,
		"rules[0].action":              `"rules": [{"name": "all"}]`,
		"rules[1].name":                `"rules": [{"name": "all", "action": "KEEP"}, {"name": "all", "action": "DELETE"}]`,
		"rules[0].tags[1]":             rule(`"tags": ["v*", "[z-"]`),
		"rules[0].variants[0]":         rule(`"variants": [""]`),
		"rules[0].classes[0]":          rule(`"classes": ["CLASS_UNSPECIFIED"]`),
		"rules[0].versions":            rule(`"versions": {}`),
		"rules[0].versions ":           rule(`"untagged": true, "versions": {"majors": 1}`),
		"rules[0].versions.majors":     rule(`"versions": {"majors": -2}`),
		"rules[0].untagged":            rule(`"untagged": true, "tags": ["v*"]`),
		"rules[0].newest":              rule(`"newest": -1`),
		"rules[0].older_than":          rule(`"older_than": "-1s"`),
		"rules[0].not_pulled_for":      rule(`"not_pulled_for": "876001h"`),
		"registry":                     all + `, "registry": "none"`,
		"repositories[0]":              all + `, "repositories": ["team/{a,b}"]`,
		"display_name":                 all + `, "display_name": "` + strings.Repeat("x", 201) + `"`,
		"interval":                     all + `, "interval": "59m"`,
		"max_deletions":                all + `, "max_deletions": -1`,
		"max_deletions is too large  ": all + `, "max_deletions": 1000001`,
		"mode":                         all + `, "mode": 7`,
	} {
		field, _, _ = strings.Cut(field, " ")
		if got := fmt.Sprint(a.call(400, "POST", ofRetention+"?retention_policy_id=wrong", "{"+value+"}")); !strings.Contains(got, "field:"+field+" ") {
			t.Errorf("%s: %s", field, got)
		}
	}
	if got := a.call(200, "GET", ofRetention, ""); len(got["retention_policies"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
}

const retentionSeed = `
tenants:
  - id: acme
    registries: [{id: dev}]
    retention_policies:
      - {id: old, registry: dev, mode: ENFORCE, rules: [{name: snapshots, action: DELETE, classes: [SNAPSHOT], older_than: 720h}]}
`

func TestW120_SeedFilesHaveRetentionPolicies(t *testing.T) {
	a := newAPI(t)
	file := writeSeed(t, retentionSeed, nil)
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", wrong, elsewhere)
	}
	for range 2 { // the second time changes nothing
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		if got := a.call(200, "GET", ofRetention+"/old", ""); got["etag"] != "1" || got["mode"] != "ENFORCE" || !strings.Contains(fmt.Sprint(got["rules"]), "2592000s") {
			t.Errorf("%v", got)
		}
	}
	found, _ := checkSeedOf(t, a, writeSeed(t, strings.Replace(retentionSeed, "DELETE", "REMOVE", 1), nil))
	if len(found) != 1 || !strings.Contains(fmt.Sprint(found), "retention_policies[0]") {
		t.Errorf("%v", found)
	}
	_, elsewhere := checkSeedOf(t, a, writeSeed(t, strings.Replace(retentionSeed, "registry: dev", "registry: prod", 1), nil))
	if len(elsewhere) != 1 || !strings.Contains(fmt.Sprint(elsewhere), "retention_policies[0].registry") {
		t.Errorf("elsewhere: %v", elsewhere)
	}
}
