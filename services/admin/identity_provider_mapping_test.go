package admin

import (
	"fmt"
	"strings"
	"testing"
)

const teams = `{"group_pattern": "berth-(?P<name>[a-z0-9-]+)-dev", "registry": "{name}", "group": "{name}-dev", "actions": ["PULL", "FILL", "PUSH"], "repositories": ["img/**"]}`

// TestV102_MappingsAreCheckedWhenWritten, with the field of what is wrong, and shown as written.
func TestV102_MappingsAreCheckedWhenWritten(t *testing.T) {
	a := withProviders(t)
	perTenant := strings.Replace(teams, `"registry": "{name}"`, `"registry": "dev", "tenant": "{name}"`, 1)
	for path, mapping := range map[string]string{providersPath + "/corp": teams, "/v1/identityProviders/corp": perTenant} {
		a.call(200, "PATCH", path, `{"mappings": [`+mapping+`]}`)
		got := fmt.Sprint(a.call(200, "GET", path, "")["mappings"])
		for _, want := range []string{"berth-(?P<name>[a-z0-9-]+)-dev", "group:{name}-dev", "PULL FILL PUSH", "img/**"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s", path, got)
			}
		}
	}
	all := strings.Replace(teams, `, "repositories": ["img/**"]`, "", 1)
	if got := a.call(200, "PATCH", providersPath+"/corp", `{"mappings": [`+all+`]}`); !strings.Contains(fmt.Sprint(got["mappings"]), "repositories:[]") {
		t.Errorf("%v", got)
	}
	a.call(400, "PATCH", "/v1/identityProviders/corp", `{"tenants": ["tenants/acme"]}`) // whose mapping makes tenants
	for wrong, field := range map[string]string{
		`{}`:      "mappings[0].group_pattern",
		perTenant: "mappings[0].tenant",
		strings.Replace(teams, "berth-(", "berth-((", 1):                                  "mappings[0].group_pattern",
		strings.Replace(teams, "<name>", "<other>", 1):                                    "mappings[0].registry",
		strings.Replace(teams, `"{name}-dev"`, `"{name}_dev"`, 1):                         "mappings[0].group",
		strings.Replace(teams, `"{name}-dev"`, `""`, 1):                                   "mappings[0].group",
		strings.Replace(teams, `["PULL", "FILL", "PUSH"]`, `[]`, 1):                       "mappings[0].actions",
		strings.Replace(teams, `["img/**"]`, `["b/["]`, 1):                                "mappings[0].repositories",
		strings.Repeat(teams+",", maxMappings) + teams:                                    "mappings",
		strings.Replace(teams, "dev\",", strings.Repeat("d", maxMappingPattern)+"\",", 1): "mappings[0].group_pattern",
	} {
		if got := fmt.Sprint(a.call(400, "PATCH", providersPath+"/corp", `{"mappings": [`+wrong+`]}`)); !strings.Contains(got, field) {
			t.Errorf("%s: %s", wrong, got)
		}
	}
	a.call(200, "PATCH", "/v1/identityProviders/corp?update_mask=mappings", `{"mappings": []}`)
}
