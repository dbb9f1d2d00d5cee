package admin

import (
	"strings"
	"testing"
)

// TestU122_SeedFilesMayHaveEndedRules: the file that was good before a rule ended makes a new
// store as it is now, and the rule does not count.
func TestU122_SeedFilesMayHaveEndedRules(t *testing.T) {
	a := newAPI(t)
	ended := strings.Replace(ruleSeed, "actions: [PULL, PUSH]", "actions: [PULL, PUSH]\n        expire_time: 2020-01-01T00:00:00Z", 1)
	file := writeSeed(t, ended, nil)
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", wrong, elsewhere)
	}
	for range 2 { // the second time changes nothing
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		got := a.call(200, "GET", ofRules+"/dev-pushes", "")
		warnings := got["warnings"].([]any)
		if got["etag"] != "1" || got["expire_time"] != "2020-01-01T00:00:00Z" || !strings.Contains(warnings[len(warnings)-1].(string), "expire_time is over") {
			t.Errorf("%v", got)
		}
	}
	tenants, err := a.service.tenantBySlug(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.store.AccessPolicy(t.Context(), tenants.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Rules) != 1 || p.Rules[0].Slug != "no-deletes" {
		t.Errorf("rules that count: %+v", p.Rules)
	}
	a.call(400, "POST", ofRules+"?access_rule_id=new", ruleWith("expire_time", `"2020-01-01T00:00:00Z"`)) // but not by the API
	a.call(400, "PATCH", ofRules+"/new?allow_missing=true", ruleWith("expire_time", `"2020-01-01T00:00:00Z"`))
}
