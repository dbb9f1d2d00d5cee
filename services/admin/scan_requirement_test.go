package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestW184_ScanRequirements are read, changed field by field and as a whole, and refused where
// they ask nothing or cannot be.
func TestW184_ScanRequirements(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	const rules, rule = "/v1/tenants/acme/pullRules?pull_rule_id=", "/v1/tenants/acme/pullRules/scanned"
	for body, want := range map[string]string{
		`{"scan": {}}`:                        "scan: it asks nothing",
		`{"scan": {"max_age": "-1s"}}`:        "scan.max_age",
		`{"scan": {"max_age": "87601h"}}`:     "scan.max_age",
		`{"scan": {"max_severity": 9}}`:       "scan.max_severity",
		`{"scan": {"max_severity": "WORSE"}}`: "",
		`{}`:                                  "artifact_types, scan or min_age",
	} {
		if got := fmt.Sprint(a.call(400, "POST", rules+"wrong", body)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
	a.call(200, "POST", rules+"scanned", `{"scan": {"max_age": "168h", "max_severity": "MEDIUM"}}`)
	scan := func() string {
		t.Helper()
		return fmt.Sprint(a.call(200, "GET", rule, "")["scan"])
	}
	if got := scan(); got != "map[max_age:604800s max_severity:MEDIUM]" {
		t.Errorf("%s", got)
	}
	a.call(200, "PATCH", rule+"?update_mask=scan.max_severity", `{"scan": {"max_severity": "NONE"}}`)
	if got := scan(); got != "map[max_age:604800s max_severity:NONE]" {
		t.Errorf("%s", got)
	}
	a.call(200, "PATCH", rule+"?update_mask=scan", `{"scan": {"max_age": "1h"}}`)
	if got := scan(); !strings.Contains(got, "3600s") || strings.Contains(got, "NONE") {
		t.Errorf("%s", got)
	}
	a.call(400, "PATCH", rule+"?update_mask=scan", `{}`) // it would ask nothing
	a.call(200, "PATCH", rule+"?update_mask=scan,min_age", `{"min_age": "1h"}`)
	if got, asks := a.call(200, "GET", rule, "")["scan"]; asks && got != nil {
		t.Errorf("%v", got)
	}
	file := writeSeed(t, "tenants:\n  - id: acme\n    pull_rules:\n      - {id: scanned, scan: {max_age: 24h, max_severity: HIGH}}\n", nil)
	if wrong, elsewhere := checkSeedOf(t, a, file); len(wrong)+len(elsewhere) > 0 {
		t.Fatalf("wrong: %v, elsewhere: %v", wrong, elsewhere)
	}
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if got := scan(); got != "map[max_age:86400s max_severity:HIGH]" {
		t.Errorf("%s", got)
	}
	wrong, _ := checkSeedOf(t, a, writeSeed(t, "tenants:\n  - id: acme\n    pull_rules:\n      - {id: scanned, scan: {max_age: 24w}}\n", nil))
	if len(wrong) != 1 || !strings.Contains(fmt.Sprint(wrong), "pull_rules[0]") {
		t.Errorf("wrong: %v", wrong)
	}
}
