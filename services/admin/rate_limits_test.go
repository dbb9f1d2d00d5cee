package admin

import (
	"reflect"
	"testing"
)

func TestW236_RateLimitsAreOfATenant(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", `{}`)
	a.call(200, "PATCH", "/v1/tenants/acme", `{"rate_limits": {"tenant": {"requests_per_second": 500, "egress_bytes_per_second": "104857600"}, "caller": {"concurrent_uploads": -1}}}`)
	got := a.call(200, "PATCH", "/v1/tenants/acme?update_mask=rate_limits.caller.requests_per_second", `{"rate_limits": {"caller": {"requests_per_second": 50}}}`)
	want := map[string]any{
		"tenant": map[string]any{"requests_per_second": 500.0, "egress_bytes_per_second": "104857600", "concurrent_uploads": 0.0},
		"caller": map[string]any{"requests_per_second": 50.0, "egress_bytes_per_second": "0", "concurrent_uploads": -1.0},
	}
	if !reflect.DeepEqual(got["rate_limits"], want) {
		t.Errorf("%v", got["rate_limits"])
	}
	for _, wrong := range []string{
		`{"tenant": {"requests_per_second": -2}}`, `{"caller": {"concurrent_uploads": -2}}`,
		`{"caller": {"egress_bytes_per_second": 1000}}`, `{"tenant": {"egress_bytes_per_second": -2}}`,
		`{"tenant": {"requests_per_second": 99999999999}}`, `{"tenant": {"requests": 1}}`,
	} {
		a.call(400, "PATCH", "/v1/tenants/acme", `{"rate_limits": `+wrong+`}`)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme", ""); !reflect.DeepEqual(got["rate_limits"], want) {
		t.Errorf("after what was refused: %v", got["rate_limits"])
	}
}
