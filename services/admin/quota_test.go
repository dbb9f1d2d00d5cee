package admin

import (
	"reflect"
	"testing"
)

func TestW265_AnOperatorHasUsageCountedAgain(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	got := a.call(200, "POST", "/v1/tenants/acme/usage:recount", "")
	if hosted, _ := got["hosted"].(map[string]any); hosted["counting"] != true || got["name"] != "tenants/acme/usage" {
		t.Errorf("%v", got)
	}
	events, _ := a.call(200, "GET", "/v1/tenants/acme/events", "")["events"].([]any)
	if newest, _ := events[0].(map[string]any); newest["verb"] != "usage.recount" || newest["actor"] != "operator" {
		t.Errorf("%v", events[0])
	}
	a.call(404, "POST", "/v1/tenants/other/usage:recount", "")
}

func TestW263_QuotasAreOfATenantAndOfARegistry(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", `{"max_tags": "500"}`)
	got := a.call(200, "PATCH", "/v1/tenants/acme?update_mask=max_repositories", `{"max_repositories": "50"}`)
	if got["max_repositories"] != "50" || got["max_tags"] != "500" || got["max_manifests"] != "0" {
		t.Errorf("%v", got)
	}
	usage := a.call(200, "GET", "/v1/tenants/acme/usage", "")
	if usage["limit_repositories"] != "50" || usage["limit_tags"] != "500" {
		t.Errorf("%v", usage)
	}
	dev := "/v1/tenants/acme/registries/dev"
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", `{"quota": {"bytes": "1000000", "tags": "10"}}`)
	got = a.call(200, "PATCH", dev+"?update_mask=quota.tags", `{"quota": {"tags": "20"}}`)
	want := map[string]any{"bytes": "1000000", "repositories": "0", "manifests": "0", "tags": "20"}
	if !reflect.DeepEqual(got["quota"], want) {
		t.Errorf("%v", got["quota"])
	}
	held := map[string]any{"bytes": "0", "repositories": "0", "manifests": "0", "tags": "0", "counting": false}
	if !reflect.DeepEqual(got["hosted"], held) || !reflect.DeepEqual(usage["hosted"], held) {
		t.Errorf("%v, %v", got["hosted"], usage["hosted"])
	}
	for _, wrong := range []string{
		`{"quota": {"bytes": "-1"}}`, `{"quota": {"repositories": "-1"}}`, `{"quota": {"manifests": "-2"}}`, `{"quota": {"tags": "-1"}}`, `{"quota": {"blobs": "1"}}`,
		`{"quota": {"bytes": "1152921504606846977"}}`, `{"quota": {"tags": "9223372036854775807"}}`,
	} {
		a.call(400, "PATCH", dev, wrong)
	}
	for _, wrong := range []string{
		`{"max_repositories": "-1"}`, `{"max_manifests": "-1"}`, `{"max_tags": "-1"}`,
		`{"quota_bytes": "-1"}`, `{"quota_bytes": "9223372036854775807"}`, `{"max_tags": "1152921504606846977"}`,
	} {
		a.call(400, "PATCH", "/v1/tenants/acme", wrong)
	}
	got = a.call(200, "GET", dev, "")
	if !reflect.DeepEqual(got["quota"], want) {
		t.Errorf("after what was refused: %v", got["quota"])
	}
}
