package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestU98_RulesHavePromoteAndUndelete gives them, takes them, and says which rules do not do
// what they seem to.
func TestU98_RulesHavePromoteAndUndelete(t *testing.T) {
	a := ruleAPI(t)
	rule := func(effect, principal, actions string) string {
		return fmt.Sprintf(`{"effect": %q, "principals": [%q], "repositories": ["team/**"], "actions": [%s]}`, effect, principal, actions)
	}
	for _, c := range []struct{ effect, actions, shown, warned string }{
		{"ALLOW", `"UNDELETE", "PROMOTE"`, "[PROMOTE UNDELETE]", ""},
		{"ALLOW", `"PULL", "FILL", "PROMOTE", "ADMIN"`, "[PULL FILL PROMOTE ADMIN]", ""},
		{"DENY", `"UNDELETE"`, "[UNDELETE]", ""},
		{"DENY", `"PROMOTE"`, "[PROMOTE]", "takes PROMOTE and leaves PUSH"},
		{"DENY", `"PROMOTE", "PUSH"`, "[PUSH PROMOTE]", ""},
	} {
		a.call(200, "PATCH", ofRules+"/one?allow_missing=true&update_mask=*", rule(c.effect, "serviceAccounts/ci", c.actions))
		got := a.call(200, "GET", ofRules+"/one", "")
		warnings := got["warnings"].([]any)
		if fmt.Sprint(got["actions"]) != c.shown || (c.warned == "") != (len(warnings) == 0) || !strings.Contains(fmt.Sprint(warnings), c.warned) {
			t.Errorf("%s %s: %v with %v", c.effect, c.actions, got["actions"], warnings)
		}
	}
	got := fmt.Sprint(a.call(400, "POST", ofRules+"?access_rule_id=open", rule("ALLOW", "anonymous", `"PULL", "PROMOTE", "UNDELETE"`)))
	if !strings.Contains(got, "field:access_rule.actions") && !strings.Contains(got, "field:actions") || !strings.Contains(got, "PROMOTE and UNDELETE cannot be given to anonymous callers") {
		t.Errorf("%v", got)
	}
	a.call(200, "POST", ofRules+"?access_rule_id=open", rule("DENY", "anonymous", `"PUSH", "PROMOTE", "UNDELETE"`))
	if err := a.service.Apply(t.Context(), writeSeed(t, strings.Replace(ruleSeed, "[PULL, PUSH]", "[PULL, PROMOTE, UNDELETE]", 1), nil)); err != nil {
		t.Fatal(err)
	}
	if got := a.call(200, "GET", ofRules+"/dev-pushes", ""); fmt.Sprint(got["actions"]) != "[PULL PROMOTE UNDELETE]" {
		t.Errorf("by a seed file: %v", got["actions"])
	}
}
