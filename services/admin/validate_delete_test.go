package admin

import (
	"fmt"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

// TestU121_ValidateOnlySaysWhatIsInUse: a deletion that is only validated is refused as the
// real one would be, and else changes nothing.
func TestU121_ValidateOnlySaysWhatIsInUse(t *testing.T) {
	a := ruleAPI(t)
	const acme = "/v1/tenants/acme/"
	for _, r := range [][2]string{
		{"users?user_id=alice", `{"role": "MEMBER"}`},
		{"groups?group_id=team", `{"members": ["users/alice"]}`},
		{"upstreams?upstream_id=hub", `{"url": "https://registry.example"}`},
		{"upstreams?upstream_id=mirrored", `{"url": "https://mirror.example"}`},
		{"upstreamGroups?upstream_group_id=chain", `{"members": [{"registry": "team-a"}, {"upstream": "hub"}]}`},
		{"registries?registry_id=ends", `{"upstream_group": "chain", "mirror_upstreams": ["mirrored"]}`},
		{"accessRules?access_rule_id=rule", `{"effect": "ALLOW", "principals": ["serviceAccounts/ci", "users/alice", "groups/team"], "registries": ["dev"], "repositories": ["a"], "actions": ["PULL"]}`},
		{"domains?domain_id=own.example", `{"registry": "main"}`},
	} {
		a.call(200, "POST", acme+r[0], r[1])
	}
	events := func() int { return len(a.call(200, "GET", acme+"events?page_size=1000", "")["events"].([]any)) }
	before := events()
	for _, name := range []string{
		"serviceAccounts/ci", "users/alice", "groups/team", "registries/dev", "registries/team-a", "upstreams/hub", "upstreams/mirrored", "upstreamGroups/chain",
	} {
		want := a.call(400, "DELETE", acme+name, "")
		got := a.call(400, "DELETE", acme+name+"?validate_only=true", "")
		if reason(t, got) != string(fault.InUse) || fmt.Sprint(got["message"]) != fmt.Sprint(want["message"]) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if n := events(); n != before {
		t.Errorf("%d events of what was refused", n-before)
	}
	// In an order in which each is free when it comes.
	for _, name := range []string{
		"accessRules/rule", "groups/team", "users/alice", "serviceAccounts/ci", "registries/dev", "registries/ends", "upstreamGroups/chain",
		"registries/team-a", "upstreams/hub", "upstreams/mirrored", "domains/own.example",
	} {
		there := a.call(200, "GET", acme+name, "")
		before := events()
		for range 2 {
			a.call(200, "DELETE", acme+name+"?validate_only=true", "")
		}
		if after := a.call(200, "GET", acme+name, ""); fmt.Sprint(after) != fmt.Sprint(there) || events() != before {
			t.Errorf("%s was %v, and is %v, with %d events", name, there, after, events()-before)
		}
		a.call(200, "DELETE", acme+name, "")
		a.call(404, "DELETE", acme+name+"?validate_only=true", "")
	}
}
