package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// TestS40_OneMoreThanThereMayBeIsRefused, with words that say which limit it is,
// how many there are and who can raise it; validation says the same.
func TestS40_OneMoreThanThereMayBeIsRefused(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	for _, noun := range []struct {
		path, body, setting string
		most, there         int
	}{
		{"registries?registry_id=r%d", "", "max_registries", meta.DefaultLimits.Registries, 1},
		{"domains?domain_id=r%d.example.com", `{"registry": "main"}`, "max_domains", meta.DefaultLimits.Domains, 0},
	} {
		create := func(want, i int, more string) map[string]any {
			return a.call(want, "POST", "/v1/tenants/acme/"+fmt.Sprintf(noun.path, i)+more, noun.body)
		}
		for i := range noun.most - noun.there {
			create(200, i, "")
		}
		create(409, 0, "") // one that is there is told so
		for _, more := range []string{"", "&validate_only=true"} {
			got := create(400, noun.most, more)
			text := fmt.Sprint(got)
			if reason(t, got) != string(fault.LimitReached) || !strings.Contains(text, noun.setting) || !strings.Contains(text, fmt.Sprint(noun.most)) || !strings.Contains(text, "operator") {
				t.Errorf("%s%s: %v", noun.path, more, got)
			}
		}
	}
	a.call(200, "POST", "/v1/tenants/other/registries?registry_id=dev", "")
	a.call(200, "DELETE", "/v1/tenants/acme/domains/r0.example.com", "")
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=again.example.com", `{"registry": "main"}`)
}
