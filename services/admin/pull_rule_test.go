package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestW178_ArtifactTypesAreLimited: 20 of 255 bytes, of a rule and a gate.
func TestW178_ArtifactTypesAreLimited(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	long := strings.Repeat("a", 255)
	for _, path := range []string{"/v1/tenants/acme/pullRules?pull_rule_id=typed", "/v1/tenants/acme/promotionGates?promotion_gate_id=typed"} {
		if got := fmt.Sprint(a.call(400, "POST", path, fmt.Sprintf(`{"artifact_types": ["a/b", "%sa"]}`, long))); !strings.Contains(got, "artifact_types[1]") {
			t.Errorf("%s: %s", path, got)
		}
		if got := fmt.Sprint(a.call(400, "POST", path, fmt.Sprintf(`{"artifact_types": ["a/b"%s]}`, strings.Repeat(`, "a/b"`, 20)))); !strings.Contains(got, "artifact_types") {
			t.Errorf("%s: %s", path, got)
		}
		a.call(200, "POST", path, fmt.Sprintf(`{"artifact_types": ["%s"%s]}`, long, strings.Repeat(`, "a/b"`, 19)))
	}
}

const pullRuleSeed = `
tenants:
  - id: acme
    pull_rules:
      - {id: known, tags: [stable]}
      - {id: typed, artifact_types: [a/0%s]}
`

// TestW178_SeedFilesHavePullRules with as many types as may be, and without what the tenant's
// rule has already.
func TestW178_SeedFilesHavePullRules(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/pullRules?pull_rule_id=known", `{"min_age": "1h"}`)
	more := ""
	for i := range 19 {
		more += fmt.Sprintf(", a/%d", i+1)
	}
	file := writeSeed(t, fmt.Sprintf(pullRuleSeed, more), nil)
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", wrong, elsewhere)
	}
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/pullRules/typed", ""); len(got["artifact_types"].([]any)) != 20 {
		t.Errorf("%v", got)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/pullRules/known", ""); got["min_age"] != "3600s" || fmt.Sprint(got["tags"]) != "[stable]" {
		t.Errorf("%v", got)
	}
	wrong, _ := checkSeedOf(t, a, writeSeed(t, fmt.Sprintf(pullRuleSeed, more+", a/20"), nil))
	if len(wrong) != 1 || !strings.Contains(fmt.Sprint(wrong), "pull_rules[1].artifact_types") {
		t.Errorf("wrong: %v", wrong)
	}
}
