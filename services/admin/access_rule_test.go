package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
)

// pullRule is a rule that gives all accounts of the tenant something.
const pullRule = `{"effect": "ALLOW", "principals": ["authenticated"], "repositories": ["team/**"], "actions": ["PULL"]}`

// ruleWith is a good rule with one field changed, or left out.
func ruleWith(field, value string) string {
	fields := map[string]string{
		"effect": `"ALLOW"`, "principals": `["serviceAccounts/ci"]`, "repositories": `["foo/img/**"]`, "actions": `["PULL", "PUSH"]`,
	}
	if fields[field] = value; value == "" {
		delete(fields, field)
	}
	parts := []string{}
	for name, v := range fields {
		parts = append(parts, fmt.Sprintf("%q: %s", name, v))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// many is a JSON list of n entries.
func many(n int, format string) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = `"` + fmt.Sprintf(format, i) + `"`
	}
	return "[" + strings.Join(entries, ",") + "]"
}

// ruleAPI has tenant acme with registries main, dev and team-a, and the account ci.
func ruleAPI(t *testing.T) *api {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	a.call(200, "POST", "/v1/tenants/other/serviceAccounts?service_account_id=theirs", `{"role": "READER"}`)
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "MEMBER"}`)
	for _, slug := range []string{"dev", "team-a"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+slug, "")
	}
	return a
}

const ofRules = "/v1/tenants/acme/accessRules"

func TestU2_AccessRulesOverREST(t *testing.T) {
	a := ruleAPI(t)
	if got := a.call(200, "GET", "/v1/tenants/acme/serviceAccounts/ci", ""); got["role"] != "MEMBER" {
		t.Errorf("account %v", got)
	}
	end := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	body := `{"display_name": "Development", "effect": "DENY", "principals": ["serviceAccounts/ci", "authenticated", "anonymous"], "registries": ["dev", "team-*"],
		"repositories": ["foo/img/**", "bar"], "actions": ["DELETE", "FILL"], "networks": ["10.1.2.3/8", "2001:db8::1/32", "::ffff:192.0.2.0/120"], "expire_time": "` + end + `"}`
	for _, path := range []string{ofRules + "?access_rule_id=dev-pushes&validate_only=true", ofRules + "?access_rule_id=dev-pushes", ofRules + "/dev-pushes"} {
		method := "POST"
		if !strings.Contains(path, "?") {
			method, body = "GET", ""
		}
		got := a.call(200, method, path, body)
		if got["name"] != "tenants/acme/accessRules/dev-pushes" || got["effect"] != "DENY" || fmt.Sprint(got["actions"]) != "[FILL DELETE]" ||
			fmt.Sprint(got["networks"]) != "[10.0.0.0/8 2001:db8::/32 192.0.2.0/24]" || fmt.Sprint(got["registries"]) != "[dev team-*]" ||
			fmt.Sprint(got["principals"]) != "[serviceAccounts/ci authenticated anonymous]" || got["display_name"] != "Development" || len(got["warnings"].([]any)) != 0 {
			t.Errorf("%s %s: %v", method, path, got)
		}
		if (got["etag"] == "") != strings.Contains(path, "validate_only") {
			t.Errorf("etag %v", got["etag"])
		}
	}
	one := ofRules + "/dev-pushes"
	got := a.call(200, "PATCH", one, `{"etag": "1", "actions": ["PULL"], "disabled": true}`)
	if got["etag"] != "2" || got["effect"] != "DENY" || fmt.Sprint(got["actions"]) != "[PULL]" || got["disabled"] != true {
		t.Errorf("%v", got)
	}
	if again := a.call(200, "PATCH", one, `{"actions": ["PULL"], "expire_time": "`+end+`"}`); again["etag"] != "2" {
		t.Errorf("an update that changes nothing: %v", again)
	}
	if ended := a.call(200, "PATCH", one+"?update_mask=expire_time", `{"expire_time": "2020-01-01T00:00:00Z"}`); !strings.Contains(fmt.Sprint(ended["warnings"]), "expire_time is over") {
		t.Errorf("ended: %v", ended)
	}
	if got = a.call(200, "PATCH", one+"?update_mask=expire_time,networks,registries", `{}`); got["expire_time"] != nil || len(got["networks"].([]any))+len(got["registries"].([]any)) != 0 {
		t.Errorf("cleared: %v", got)
	}
	a.call(409, "PATCH", one, `{"etag": "1", "disabled": false}`)
	a.call(404, "PATCH", ofRules+"/none", pullRule)
	a.call(200, "PATCH", ofRules+"/none?allow_missing=true&validate_only=true", pullRule)
	a.call(404, "GET", ofRules+"/none", "")
	a.call(200, "PATCH", ofRules+"/none?allow_missing=true", pullRule)
	a.call(409, "POST", ofRules+"?access_rule_id=none", pullRule)
	a.call(409, "DELETE", one+"?etag=1", "")
	a.call(200, "DELETE", one+"?validate_only=true", "")
	a.call(200, "DELETE", one, "")
	a.call(404, "DELETE", one, "")
	a.call(200, "DELETE", one+"?allow_missing=true", "")
	var verbs []string
	for _, e := range a.call(200, "GET", "/v1/tenants/acme/events?filter=verb%3D%22accessRule.*%22", "")["events"].([]any) {
		verbs = append(verbs, e.(map[string]any)["verb"].(string))
	}
	if want := []string{"accessRule.delete", "accessRule.create", "accessRule.update", "accessRule.update", "accessRule.update", "accessRule.create"}; !slices.Equal(verbs, want) {
		t.Errorf("events %v", verbs)
	}
}

// TestU16_CrowdedFoldersAreRefused also where the patterns are of several rules.
func TestU16_CrowdedFoldersAreRefused(t *testing.T) {
	a := ruleAPI(t)
	for i := range 4 {
		a.call(200, "POST", fmt.Sprintf("%s?access_rule_id=full-%d", ofRules, i), ruleWith("repositories", many(64, fmt.Sprintf("x%d*%%d/a", i))))
	}
	got := a.call(400, "POST", ofRules+"?access_rule_id=more", ruleWith("repositories", `["*/app"]`))
	if !strings.Contains(fmt.Sprint(got), "more than 256 patterns") {
		t.Errorf("%v", got)
	}
	a.call(200, "POST", ofRules+"?access_rule_id=more", ruleWith("repositories", `["team/*"]`))
	a.call(200, "PATCH", ofRules+"/full-0", `{"repositories": ["y*/a"]}`)
}

func TestU2_BadRulesAreRefused(t *testing.T) {
	a := ruleAPI(t)
	a.call(200, "POST", ofRules+"?access_rule_id=there", ruleWith("", ""))
	for _, c := range []struct{ field, value, at, says string }{
		{"effect", ``, "effect", "one of ALLOW, DENY"},
		{"principals", ``, "principals", "missing"},
		{"principals", `[]`, "principals", "missing"},
		{"principals", `["anonymous", "persons/anna"]`, "principals[1]", "serviceAccounts/{service_account}, users/{user}, authenticated, anonymous"},
		{"principals", `["*"]`, "principals[0]", "not a principal"},
		{"principals", `["tenants/acme/serviceAccounts/ci"]`, "principals[0]", "not a principal"},
		{"principals", `["serviceAccounts/"]`, "principals[0]", ""},
		{"principals", `["serviceAccounts/ci/keys/k"]`, "principals[0]", ""},
		{"principals", `["authenticated", "serviceAccounts/theirs"]`, "principals[1]", `service account "theirs" not found in this tenant`},
		{"principals", `["authenticated", "anonymous", "authenticated"]`, "principals[2]", "twice"},
		{"principals", many(65, "serviceAccounts/a%d"), "principals", "maximum of 64"},
		{"registries", `["main", "prod"]`, "registries[1]", `registry "prod" not found in this tenant`},
		{"registries", `["dev", "dev"]`, "registries[1]", "twice"},
		{"registries", `["team/*"]`, "registries[0]", "pattern of slugs"},
		{"registries", `["[a"]`, "registries[0]", "pattern of slugs"},
		{"registries", `["", "dev"]`, "registries[0]", ""},
		{"registries", many(65, "r%d*"), "registries", "maximum of 64"},
		{"repositories", ``, "repositories", "missing"},
		{"repositories", `["a", "b/["]`, "repositories[1]", "name pattern"},
		{"repositories", `["{a,b}"]`, "repositories[0]", "name pattern"},
		{"repositories", `[""]`, "repositories[0]", "name pattern"},
		{"repositories", `["` + strings.Repeat("a", 256) + `"]`, "repositories[0]", "255"},
		{"repositories", `["a/*b*c*d*e*f"]`, "repositories[0]", "takes long"},
		{"repositories", `["a", "**/a/**/b/**"]`, "repositories[1]", "takes long"},
		{"repositories", `["a/**", "b", "a/**"]`, "repositories[2]", "twice"},
		{"repositories", many(65, "r%d"), "repositories", "maximum of 64"},
		{"actions", ``, "actions", "at least one of PULL, FILL, PUSH, DELETE"},
		{"actions", `["PULL", "ACTION_UNSPECIFIED"]`, "actions[1]", "not an action"},
		{"actions", `["PULL", 17]`, "actions[1]", "17 is not one of PULL, FILL, PUSH, DELETE"},
		{"actions", `["PULL", "PUSH", "PULL"]`, "actions[2]", "twice"},
		{"actions", `["FILL"]`, "actions", "add PULL"},
		{"actions", `["PUSH", "FILL"]`, "actions", "add PULL"},
		{"networks", `["10.0.0.0/8", "10.0.0.1"]`, "networks[1]", "CIDR"},
		{"networks", `["10.0.0.0/33"]`, "networks[0]", "CIDR"},
		{"networks", `["fe80::%eth0/64"]`, "networks[0]", "CIDR"},
		{"networks", `["10.0.0.0/8", "10.9.9.9/8"]`, "networks[1]", "10.0.0.0/8 is there twice"},
		{"networks", many(65, "10.0.%d.0/24"), "networks", "maximum of 64"},
		{"expire_time", `"2020-01-01T00:00:00Z"`, "expire_time", "in the past"},
		{"display_name", `"` + strings.Repeat("a", 201) + `"`, "display_name", "200"},
	} {
		body := ruleWith(c.field, c.value)
		for _, call := range [][2]string{
			{"POST", ofRules + "?access_rule_id=bad"},
			{"POST", ofRules + "?access_rule_id=bad&validate_only=true"},
			{"PATCH", ofRules + "/there?update_mask=*"},
		} {
			if call[0] == "PATCH" && c.field == "expire_time" {
				continue // a rule may be ended
			}
			got := a.call(400, call[0], call[1], body)
			text := fmt.Sprint(got)
			if reason(t, got) != string(fault.RequestInvalid) || !strings.Contains(text, "field:"+c.at+" ") && !strings.Contains(text, "field:"+c.at+"]") || !strings.Contains(text, c.says) {
				t.Errorf("%s with %s %s: %v", call[0], c.field, c.value, got)
			}
		}
	}
	a.call(200, "POST", ofRules+"?access_rule_id=full", `{"effect": "DENY", "principals": ["anonymous"], "registries": `+many(64, "r%d*")+
		`, "repositories": `+many(64, "r%d/**")+`, "networks": `+many(64, "10.0.%d.0/24")+`, "actions": ["FILL"]}`)
}

func TestU3_WhatARuleNamesIsInUse(t *testing.T) {
	a := ruleAPI(t)
	a.call(200, "POST", ofRules+"?access_rule_id=first", `{"effect": "ALLOW", "principals": ["serviceAccounts/ci"], "registries": ["dev", "team-*"], "repositories": ["a"], "actions": ["PULL"]}`)
	for _, path := range []string{"serviceAccounts/ci", "registries/dev"} {
		got := a.call(400, "DELETE", "/v1/tenants/acme/"+path, "")
		if reason(t, got) != string(fault.InUse) || !strings.Contains(fmt.Sprint(got), `access rule "first"`) {
			t.Errorf("%s: %v", path, got)
		}
	}
	a.call(200, "DELETE", "/v1/tenants/acme/registries/team-a", "")
	a.call(200, "DELETE", ofRules+"/first", "")
	a.call(200, "DELETE", "/v1/tenants/acme/serviceAccounts/ci", "")
	a.call(200, "DELETE", "/v1/tenants/acme/registries/dev", "")
}

func TestU4_RulesThatMayBeMistakesAreWarnedOf(t *testing.T) {
	a := ruleAPI(t)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev", `{"anonymous_pull": true}`)
	for _, c := range []struct {
		effect, principals, registries, repositories, actions string
		warned                                                []string
	}{
		{"ALLOW", "serviceAccounts/ci", "", "foo/img/**", "PULL PUSH", nil},
		{"ALLOW", "anonymous", "main", "**", "PULL FILL", nil},
		{"ALLOW", "authenticated anonymous", "", "a", "PULL PUSH DELETE", []string{"gives everybody PUSH and DELETE"}},
		{"DENY", "anonymous", "", "a", "PUSH DELETE FILL", nil},
		{"ALLOW", "authenticated", "", "**", "PULL", []string{"every repository of every registry"}},
		{"ALLOW", "authenticated", "*", "**/*", "PULL", []string{"every repository of every registry"}},
		{"DENY", "authenticated", "", "* */**", "PULL", []string{"every repository of every registry"}},
		{"ALLOW", "authenticated", "main dev", "**", "PULL", nil},
		{"ALLOW", "authenticated", "", "*/*", "PULL", nil},
		{"ALLOW", "authenticated", "dev", "a", "PULL FILL", []string{"anonymous_pull"}},
		{"ALLOW", "authenticated", "d*", "a", "PULL", []string{"anonymous_pull"}},
		{"ALLOW", "authenticated", "dev", "a", "PULL PUSH", nil},
		{"DENY", "authenticated", "dev", "a", "PULL", nil},
		{"ALLOW", "authenticated", "dev main", "a", "PULL", nil},
		{"ALLOW", "authenticated", "", "a", "PUSH", []string{"docker push also pulls"}},
		{"ALLOW", "authenticated", "team-* prod-*", "a", "PULL", []string{`registries[1]: "prod-*" matches no registry`}},
		{"DENY", "authenticated", "", "ok/[a-z]?/x_y.z--9/** Team/app", "PULL", []string{`repositories[1]: "Team/app" matches no repository`}},
		{"DENY", "authenticated", "", "ghcr.io:443/a /a a//b a/ app:1", "PULL", []string{"repositories[0]", "repositories[1]", "repositories[2]", "repositories[3]", "repositories[4]"}},
	} {
		list := func(text string) string {
			if text == "" {
				return "[]"
			}
			return `["` + strings.ReplaceAll(text, " ", `", "`) + `"]`
		}
		body := fmt.Sprintf(`{"effect": %q, "principals": %s, "registries": %s, "repositories": %s, "actions": %s}`,
			c.effect, list(c.principals), list(c.registries), list(c.repositories), list(c.actions))
		for _, path := range []string{ofRules + "/one?allow_missing=true&validate_only=true", ofRules + "/one?allow_missing=true&update_mask=*"} {
			got := a.call(200, "PATCH", path, body)["warnings"].([]any)
			ok := len(got) == len(c.warned)
			for i := range c.warned {
				ok = ok && strings.Contains(got[i].(string), c.warned[i])
			}
			if !ok {
				t.Errorf("%s: %q, want %q", body, got, c.warned)
			}
		}
		listed := a.call(200, "GET", ofRules, "")["access_rules"].([]any)[0].(map[string]any)["warnings"].([]any)
		if len(listed) != len(c.warned) {
			t.Errorf("%s: listed with %q", body, listed)
		}
		a.call(200, "DELETE", ofRules+"/one", "")
	}
}

const ruleSeed = `
tenants:
  - id: acme
    registries:
      - id: dev
    service_accounts:
      - id: ci
        role: MEMBER
    access_rules:
      - id: dev-pushes
        display_name: Development
        effect: ALLOW
        principals: [serviceAccounts/ci]
        registries: [dev, team-*]
        repositories: [foo/img/**]
        actions: [PULL, PUSH]
        networks: [10.1.2.3/8]
      - id: no-deletes
        effect: DENY
        principals: [authenticated]
        repositories: ["**"]
        actions: [DELETE]
`

func checkSeedOf(t *testing.T, a *api, file string) ([]error, []error) {
	t.Helper()
	return CheckSeed(t.Context(), file, SeedCheck{Pattern: a.service.pattern, Secrets: a.service.secrets, CheckAddress: silent{}.CheckAddress})
}

func TestU5_SeedFilesHaveAccessRules(t *testing.T) {
	a := newAPI(t)
	file := writeSeed(t, ruleSeed, nil)
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", errors.Join(wrong...), errors.Join(elsewhere...))
	}
	for range 2 { // the second time changes nothing
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		got := a.call(200, "GET", ofRules+"/dev-pushes", "")
		if got["etag"] != "1" || got["display_name"] != "Development" || fmt.Sprint(got["networks"]) != "[10.0.0.0/8]" || fmt.Sprint(got["principals"]) != "[serviceAccounts/ci]" {
			t.Errorf("%v", got)
		}
	}
	// A file may change a part of what is there, and nothing that a rule names is needed in it.
	partial := writeSeed(t, `
tenants:
  - id: acme
    access_rules:
      - id: no-deletes
        disabled: true
      - id: prod
        effect: ALLOW
        principals: [anonymous, serviceAccounts/cd]
        registries: [prod, main]
        repositories: [a]
        actions: [PULL]
`, nil)
	wrong, elsewhere := checkSeedOf(t, a, partial)
	var noted []string
	for _, err := range elsewhere {
		noted = append(noted, strings.TrimPrefix(err.Error(), partial))
	}
	if len(wrong) > 0 || len(noted) != 6 || !strings.Contains(noted[0], `access_rules[0].effect: access rule "no-deletes" has no effect in this file`) ||
		!strings.Contains(noted[4], `access_rules[1].principals[1]: service account "cd" is not in this file`) ||
		!strings.Contains(noted[5], `access_rules[1].registries[0]: registry "prod" is not in this file`) {
		t.Errorf("wrong: %v, elsewhere: %q", errors.Join(wrong...), noted)
	}
	err := a.service.Apply(t.Context(), partial)
	if err == nil || !strings.Contains(err.Error(), `:10: tenants[0].access_rules[1].registries[0]: registry "prod" not found`) ||
		!strings.Contains(err.Error(), `:9: tenants[0].access_rules[1].principals[1]: service account "cd" not found`) {
		t.Errorf("applied: %v", err)
	}
	if got := a.call(200, "GET", ofRules+"/no-deletes", ""); got["disabled"] != true || got["effect"] != "DENY" {
		t.Errorf("%v", got)
	}
	bad := writeSeed(t, strings.NewReplacer("[PULL, PUSH]", "[PULL, PUSHES]", "[authenticated]", "[everybody]", "id: dev-pushes", "id: Dev").Replace(ruleSeed), nil)
	wrong, _ = checkSeedOf(t, a, bad)
	if text := errors.Join(wrong...).Error(); len(wrong) != 3 || !strings.Contains(text, "access_rules[0].actions") || !strings.Contains(text, "access_rules[1].principals[0]") || !strings.Contains(text, "access_rules[0].id") {
		t.Errorf("%v", text)
	}
}
