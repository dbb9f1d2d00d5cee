package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestT66_RulesAreChecked sets rules, reads them and is told which field is wrong.
func TestT66_RulesAreChecked(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	digest := "sha256:" + strings.Repeat("a", 64)
	good := `{"url": "https://ghcr.io", "tag_rules": [{"tags": ["latest", "nightly-*"], "ttl": "60s"}, {"versions": ">=1.0.0", "immutable": true}],
		"keep_gone": true, "min_age": "24h", "approved_digests": ["` + digest + `"], "platforms": ["linux/*"], "denied_platforms": ["linux/arm/v6"], "licenses": ["MIT"]}`
	a.call(200, "POST", upstreams+"?upstream_id=ghcr", good)
	got := fmt.Sprint(a.call(200, "GET", upstreams+"/ghcr", ""))
	for _, want := range []string{"nightly-*", "ttl:60s", ">=1.0.0", "immutable:true", "keep_gone:true", "min_age:86400s", digest, "linux/*", "linux/arm/v6", "MIT"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not shown: %s", want, got)
		}
	}
	a.call(200, "PATCH", upstreams+"/ghcr", `{"tag_rules": [], "min_age": "0s"}`)
	many := strings.TrimSuffix(strings.Repeat(`{"tags": ["a"], "ttl": "1s"},`, 51), ",")
	for body, field := range map[string]string{
		`{"tag_rules": [{"ttl": "1s"}]}`:                                   "tag_rules[0]",
		`{"tag_rules": [{"tags": ["a"]}]}`:                                 "tag_rules[0].ttl",
		`{"tag_rules": [{"tags": ["a"], "ttl": "1s", "immutable": true}]}`: "tag_rules[0].ttl",
		`{"tag_rules": [{"tags": ["a"], "ttl": "-1s"}]}`:                   "tag_rules[0].ttl",
		`{"tag_rules": [{"tags": ["a", "[b"], "ttl": "1s"}]}`:              "tag_rules[0].tags[1]",
		`{"tag_rules": [{"tags": ["a/b"], "ttl": "1s"}]}`:                  "tag_rules[0].tags[0]",
		`{"tag_rules": [{"tags": ["{a,b}"], "ttl": "1s"}]}`:                "tag_rules[0].tags[0]",
		`{"tag_rules": [{"versions": "newer", "immutable": true}]}`:        "tag_rules[0].versions",
		`{"tag_rules": [` + many + `]}`:                                    "tag_rules",
		`{"min_age": "-1s"}`:                                               "min_age",
		`{"min_age": "8760h"}`:                                             "min_age",
		`{"approved_digests": ["latest"]}`:                                 "approved_digests[0]",
		`{"platforms": ["linux"]}`:                                         "platforms[0]",
		`{"platforms": ["linux/a", "linux/[a"]}`:                           "platforms[1]",
		`{"denied_platforms": [""]}`:                                       "denied_platforms[0]",
		`{"licenses": ["MIT", "mine"]}`:                                    "licenses[1]",
		`{"licenses": ["` + strings.Repeat("a", 300) + `"]}`:               "licenses[0]",
	} {
		if got := fmt.Sprint(a.call(400, "PATCH", upstreams+"/ghcr", body)); !strings.Contains(got, "field:upstream."+field+" ") && !strings.Contains(got, "field:"+field+" ") && !strings.Contains(got, "field:"+field+"]") && !strings.Contains(got, "field:upstream."+field+"]") {
			t.Errorf("%.80s: %s, want the field %s", body, got, field)
		}
	}
}
