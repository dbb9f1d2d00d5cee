package admin

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/tenant"
)

const hubMirror = `{"upstream": "hub", "networks": ["10.1.0.0/8"]}`

// newMirrored is an API with an upstream to mirror.
func newMirrored(t *testing.T) *api {
	t.Helper()
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=hub", `{"url": "https://registry.example"}`)
	a.call(200, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=chain", `{"members": [{"upstream": "hub"}]}`)
	return a
}

const mirrorHosts = "/v1/tenants/acme/mirrorHosts"

func TestV60_TheNameOfAMirrorHostIsShownOnce(t *testing.T) {
	a := newMirrored(t)
	name := regexp.MustCompile(`^m-[a-z2-7]{32}\.[a-z.]+$`)
	if checked := a.call(200, "POST", mirrorHosts+"?mirror_host_id=engines&validate_only=true", hubMirror); checked["host"] != "" {
		t.Errorf("validated only: %v", checked)
	}
	made := a.call(200, "POST", mirrorHosts+"?mirror_host_id=engines", hubMirror)
	first, _ := made["host"].(string)
	if !name.MatchString(first) || made["registry"] != "main" || fmt.Sprint(made["networks"]) != "[10.0.0.0/8]" || fmt.Sprint(made["warnings"]) != "[]" {
		t.Errorf("made: %v", made)
	}
	wantLife(t, made, 90*24*time.Hour)
	changed := a.call(200, "PATCH", mirrorHosts+"/engines", `{"upstream_group": "chain", "cached_only": true, "networks": []}`)
	if changed["host"] != "" || changed["upstream_group"] != "chain" || changed["cached_only"] != true || !strings.Contains(fmt.Sprint(changed["warnings"]), "networks is empty") {
		t.Errorf("changed: %v", changed)
	}
	rotated := a.call(200, "POST", mirrorHosts+"/engines:rotate", `{"ttl": "3600s", "overlap": "600s"}`)
	second, _ := rotated["host"].(string)
	if !name.MatchString(second) || second == first {
		t.Errorf("rotated: %v", rotated)
	}
	wantLife(t, rotated, time.Hour)
	if until, err := time.Parse(time.RFC3339, rotated["old_expire_time"].(string)); err != nil || time.Until(until) > 10*time.Minute || time.Until(until) < 9*time.Minute {
		t.Errorf("the name before ends at %s, %v", until, err)
	}
	byUpdate := a.call(200, "PATCH", mirrorHosts+"/another?allow_missing=true", `{"upstream": "hub"}`)
	if host, _ := byUpdate["host"].(string); !name.MatchString(host) {
		t.Errorf("made by an update: %v", byUpdate)
	}
	for _, path := range []string{mirrorHosts, mirrorHosts + "/engines", "/v1/tenants/acme/events"} {
		shown := fmt.Sprint(a.call(200, "GET", path, ""))
		for _, host := range []string{first, second} {
			if strings.Contains(shown, strings.TrimPrefix(host[:34], "m-")) {
				t.Errorf("%s shows the name: %s", path, shown)
			}
		}
	}
}

func wantLife(t *testing.T, m map[string]any, life time.Duration) {
	t.Helper()
	end, err := time.Parse(time.RFC3339, m["expire_time"].(string))
	if left := time.Until(end); err != nil || left > life || left < life-time.Minute {
		t.Errorf("it ends in %s, %v; want %s", left, err, life)
	}
}

func TestV60_AMirrorHostRefusesWhatItCannotMean(t *testing.T) {
	a := newMirrored(t)
	made := a.call(200, "POST", mirrorHosts+"?mirror_host_id=engines", hubMirror)
	for body, field := range map[string]string{
		`{}`:                         "upstream",
		`{"upstream": ""}`:           "upstream",
		`{"upstream": "nowhere"}`:    "upstream",
		`{"upstream_group": "none"}`: "upstream_group",
		`{"upstream": "hub", "registry": "none"}`:                                 "registry",
		`{"upstream": "hub", "networks": ["10.0.0.1"]}`:                           "networks[0]",
		`{"upstream": "hub", "networks": ["10.0.0.0/8", "10.1.0.0/8"]}`:           "networks[1]",
		`{"upstream": "hub", "ttl": "31708800s"}`:                                 "ttl",
		`{"upstream": "hub", "ttl": "0s"}`:                                        "ttl",
		`{"upstream": "hub", "display_name": "` + strings.Repeat("x", 201) + `"}`: "display_name",
	} {
		if got := fmt.Sprint(a.call(400, "POST", mirrorHosts+"?mirror_host_id=other", body)); !strings.Contains(got, "field:"+field+" ") {
			t.Errorf("%s: %s", body, got)
		}
	}
	a.call(400, "PATCH", mirrorHosts+"/engines", `{"ttl": "60s"}`)
	a.call(400, "POST", mirrorHosts+"/engines:rotate", `{"overlap": "604801s"}`)
	a.call(400, "POST", mirrorHosts+"/engines:rotate", `{"overlap": "-1s"}`)
	a.call(200, "POST", mirrorHosts+"/engines:rotate", `{}`)
	a.call(409, "POST", mirrorHosts+"/engines:rotate", fmt.Sprintf(`{"etag": %q}`, made["etag"]))
	a.call(404, "POST", mirrorHosts+"/none:rotate", `{}`)
	a.call(400, "DELETE", "/v1/tenants/acme/upstreams/hub", "") // in use
}

// TestV96_NoDomainHasTheNameOfAMirrorHost, an operator's neither.
func TestV96_NoDomainHasTheNameOfAMirrorHost(t *testing.T) {
	a := newMirrored(t)
	label := tenant.NewMirrorLabel()
	for _, host := range []string{label + ".localhost", "a." + label + ".localhost", strings.ToUpper(label) + ".elsewhere.example"} {
		got := fmt.Sprint(a.call(400, "POST", "/v1/tenants/acme/domains?domain_id="+host, `{"registry": "main"}`))
		if !strings.Contains(got, "domain_id") || strings.Contains(strings.ToLower(got), label) {
			t.Errorf("%s: %s", host, got)
		}
	}
}
