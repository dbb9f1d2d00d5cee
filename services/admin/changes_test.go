package admin

import (
	"fmt"
	"strings"
	"testing"
)

// TestS85_EventsSayFromWhereAndWhatChanged reads the audit log after updates.
func TestS85_EventsSayFromWhereAndWhatChanged(t *testing.T) {
	a := withPassword(t)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"tag_ttl": "60s", "password": "quite another secret"}`)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/main", `{"anonymous_pull": true}`)
	a.call(200, "POST", "/v1/tenants/acme:suspend", "{}")
	log := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/events", "")["events"])
	for _, want := range []string{"field:tag_ttl new_value:60s old_value:300s", "field:password", "field:anonymous_pull new_value:true old_value:false", "field:state"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	for _, secret := range []string{"quite another secret", upstreamPassword, "===="} {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}
