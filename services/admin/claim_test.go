package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

func TestN4_ClaimsAreListedAndReleased(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	admin := a.account("acme", "boss", "ADMIN")
	const registry = "/v1/tenants/acme/registries/main"
	for _, name := range []string{"app", "team/app", "team/app/tags"} {
		a.push("acme", "main", name, "1")
	}
	a.call(200, "DELETE", registry+"/repositories/team/app", "")
	list := func() string {
		var names []string
		for _, c := range a.callAs(admin, 200, "GET", registry+"/nameClaims", "")["name_claims"].([]any) {
			c := c.(map[string]any)
			if c["create_time"] == nil {
				t.Errorf("since when: %v", c)
			}
			names = append(names, fmt.Sprint(strings.TrimPrefix(c["name"].(string), "tenants/acme/registries/main/nameClaims/"), " ", c["in_use"]))
		}
		return strings.Join(names, ", ")
	}
	if got := list(); got != "app true, team/app false, team/app/tags true" {
		t.Errorf("claims: %s", got)
	}
	if got := reason(t, a.call(400, "POST", registry+"/nameClaims/app:release", "{}")); got != string(fault.InUse) {
		t.Errorf("a name in use: %s", got)
	}
	release := registry + "/nameClaims/team/app:release"
	a.callAs(admin, 200, "POST", release, `{"validate_only": true}`)
	a.callAs(admin, 200, "POST", release, "{}")
	a.call(404, "POST", release, "{}")
	a.call(200, "POST", release, `{"allow_missing": true}`)
	a.call(400, "POST", registry+"/nameClaims/UPPER:release", "{}")
	if got := list(); got != "app true, team/app/tags true" {
		t.Errorf("claims: %s", got)
	}
	event := a.call(200, "GET", "/v1/tenants/acme/events?page_size=1", "")["events"].([]any)[0].(map[string]any)
	if event["verb"] != "nameClaim.release" || event["target"] != "registries/main/nameClaims/team/app" || event["actor"] != "serviceAccounts/boss" {
		t.Errorf("the event: %v", event)
	}
	page := a.call(200, "GET", registry+"/nameClaims?page_size=1", "")
	next := a.call(200, "GET", registry+"/nameClaims?page_size=1&page_token="+page["next_page_token"].(string), "")
	if len(next["name_claims"].([]any)) != 1 || next["next_page_token"] != "" {
		t.Errorf("the last page: %v", next)
	}
}
