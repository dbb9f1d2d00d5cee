package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const ofPrefetches = "/v1/tenants/acme/prefetches"

func TestW237_PrefetchesOverREST(t *testing.T) {
	a := ruleAPI(t)
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=hub", `{"url": "https://registry.example"}`)
	body := `{"display_name": "Base", "upstream": "hub", "references": ["library/alpine:3.20"], "patterns": ["library/alpine:3.*"], "platforms": ["linux/amd64"], "interval": "12h"}`
	for _, path := range []string{ofPrefetches + "?prefetch_id=base&validate_only=true", ofPrefetches + "?prefetch_id=base"} {
		got := a.call(200, "POST", path, body)
		if got["name"] != "tenants/acme/prefetches/base" || got["upstream"] != "hub" || got["interval"] != "43200s" || fmt.Sprint(got["references"], got["patterns"], got["platforms"]) != "[library/alpine:3.20] [library/alpine:3.*] [linux/amd64]" {
			t.Errorf("%s: %v", path, got)
		}
	}
	got := a.call(200, "PATCH", ofPrefetches+"/base", `{"interval": "0s"}`)
	if got["next_run_time"] != nil || got["upstream"] != "hub" {
		t.Errorf("changed: %v", got)
	}
	if got := a.call(200, "POST", ofPrefetches+"/base:run", ""); got["next_run_time"] == nil || got["run"] != nil {
		t.Errorf("asked for a run: %v", got)
	}
	p, ok, err := a.store.ClaimPrefetch(t.Context(), uuid.New(), 0)
	if err != nil || !ok || p.TenantSlug != "acme" {
		t.Fatal(p, ok, err)
	}
	a.call(200, "GET", ofPrefetches+"/base/references", "")
	if got := a.call(200, "GET", ofPrefetches+"/base", ""); got["next_run_time"] != nil || fmt.Sprint(got["run"].(map[string]any)["number"]) != "1" {
		t.Errorf("it runs: %v", got)
	}
	a.call(200, "DELETE", "/v1/tenants/acme/upstreams/hub", "") // the prefetch stays, and can be changed
	a.call(200, "PATCH", ofPrefetches+"/base", `{"disabled": true}`)
	a.call(400, "POST", ofPrefetches+"/base:run", "")
	a.call(200, "DELETE", ofPrefetches+"/base", "")
	a.call(404, "GET", ofPrefetches+"/base/references", "")
}

func TestW237_ABadPrefetchIsRefusedWithTheField(t *testing.T) {
	a := ruleAPI(t)
	a.call(200, "POST", "/v1/tenants/acme/upstreams?upstream_id=hub", `{"url": "https://registry.example"}`)
	const all = `"upstream": "hub", "references": ["app:1"]`
	for field, value := range map[string]string{
		"upstream":         `"references": ["app:1"]`,
		"upstream unknown": `"upstream": "none", "references": ["app:1"]`,
		"references":       `"upstream": "hub"`,
		"references[0]":    `"upstream": "hub", "references": ["app"]`,
		"references[0] a":  `"upstream": "hub", "references": ["App:1"]`,
		"references[0] b":  `"upstream": "hub", "references": ["app@sha256:12"]`,
		"references[1]":    `"upstream": "hub", "references": ["app:1", "app:1"]`,
		"patterns[0]":      all + `, "patterns": ["app:[z-"]`,
		"patterns[0] a":    all + `, "patterns": ["team/*:1"]`,
		"platforms[0]":     all + `, "platforms": ["amd64 "]`,
		"interval":         all + `, "interval": "59m"`,
		"display_name":     all + `, "display_name": "` + strings.Repeat("x", 201) + `"`,
		"references many":  `"upstream": "hub", "references": ["app:x` + strings.Repeat(`", "app:y`, 1000) + `"]`,
	} {
		field, _, _ = strings.Cut(field, " ")
		if got := fmt.Sprint(a.call(400, "POST", ofPrefetches+"?prefetch_id=wrong", "{"+value+"}")); !strings.Contains(got, "field:prefetch."+field+" ") && !strings.Contains(got, "field:"+field+" ") {
			t.Errorf("%s: %s", field, got)
		}
	}
	if got := a.call(200, "GET", ofPrefetches, ""); len(got["prefetches"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
}
