package admin

import (
	"fmt"
	"strings"
	"testing"
)

const groupsPath = "/v1/tenants/acme/groups"

// TestU42_GroupsRefuseWhatCannotBe and say which entry it is.
func TestU42_GroupsRefuseWhatCannotBe(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "MEMBER"}`)
	for body, field := range map[string]string{
		`{"members": ["serviceAccounts/ci", "serviceAccounts/none"]}`:        "members[1]",
		`{"members": ["users/ci"]}`:                                          "members[0]",
		`{"members": ["groups/dev"]}`:                                        "members[0]",
		`{"members": ["anonymous"]}`:                                         "members[0]",
		`{"members": ["serviceAccounts/CI"]}`:                                "members[0]",
		`{"members": ["serviceAccounts/ci", "serviceAccounts/ci"]}`:          "members[1]",
		`{"display_name": "` + strings.Repeat("a", 300) + `"}`:               "display_name",
		`{"members": [` + strings.Repeat(`"users/a",`, 1000) + `"users/a"]}`: "members",
	} {
		for _, query := range []string{"", "&validate_only=true"} {
			if got := fmt.Sprint(a.call(400, "POST", groupsPath+"?group_id=dev"+query, body)); !strings.Contains(got, "field:"+field+" ") {
				t.Errorf("%s: %s, want the field %s", clipped(body), got, field)
			}
		}
	}
}

// TestU42_RulesNameGroups that the tenant has, and which then stay.
func TestU42_RulesNameGroups(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "MEMBER"}`)
	const rule = `{"effect": "ALLOW", "principals": ["groups/dev"], "repositories": ["foo/**"], "actions": ["PULL"]}`
	a.call(400, "POST", "/v1/tenants/acme/accessRules?access_rule_id=r1", rule)
	got := a.call(200, "POST", groupsPath+"?group_id=dev", `{"members": ["serviceAccounts/ci"]}`)
	if fmt.Sprint(got["members"]) != "[serviceAccounts/ci]" || got["etag"] != "1" {
		t.Errorf("made: %v", got)
	}
	a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id=r1", rule)
	a.call(400, "DELETE", groupsPath+"/dev", "")
	a.call(409, "PATCH", groupsPath+"/dev", `{"display_name": "Dev", "etag": "9"}`)
	if got := a.call(200, "PATCH", groupsPath+"/dev", `{"display_name": "Dev"}`); fmt.Sprint(got["members"]) != "[serviceAccounts/ci]" || got["etag"] != "2" {
		t.Errorf("changed: %v", got)
	}
	a.call(200, "DELETE", "/v1/tenants/acme/serviceAccounts/ci", "")
	if got := a.call(200, "GET", groupsPath+"/dev", ""); fmt.Sprint(got["members"]) != "[]" {
		t.Errorf("after its member is deleted: %v", got)
	}
	a.call(200, "DELETE", "/v1/tenants/acme/accessRules/r1", "")
	a.call(200, "DELETE", groupsPath+"/dev", "")
}

// TestU42_SeedsHaveGroups which rules of the same file name.
func TestU42_SeedsHaveGroups(t *testing.T) {
	a := newAPI(t)
	file := writeSeed(t, `tenants:
- id: acme
  service_accounts: [{id: ci, role: MEMBER}]
  groups: [{id: dev, members: [serviceAccounts/ci]}]
  access_rules: [{id: r1, effect: ALLOW, principals: [groups/dev], repositories: ["foo/**"], actions: [PULL]}]
`, nil)
	for range 2 {
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.call(200, "GET", groupsPath+"/dev", ""); fmt.Sprint(got["members"]) != "[serviceAccounts/ci]" || got["etag"] != "1" {
		t.Errorf("applied twice: %v", got)
	}
}
