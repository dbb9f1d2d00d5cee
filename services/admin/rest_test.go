package admin

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// The walk through the API that the README shows.
func TestRESTFromTenantToKey(t *testing.T) {
	a := newAPI(t)

	acme := a.call(200, "POST", "/v1/tenants?tenant_id=acme", `{"display_name": "Acme"}`)
	if acme["name"] != "tenants/acme" || acme["display_name"] != "Acme" || acme["state"] != "ACTIVE" || acme["quota_bytes"] != "0" || acme["uid"] == "" {
		t.Errorf("tenant %v", acme)
	}
	dev := a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", `{"anonymous_pull": true}`)
	if dev["name"] != "tenants/acme/registries/dev" || dev["anonymous_pull"] != true || dev["read_only"] != false || dev["missing_references"] != "REJECT" {
		t.Errorf("registry %v", dev)
	}
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=prod", "")
	list := a.call(200, "GET", "/v1/tenants/acme/registries", "")
	var hosts []string
	for _, r := range list["registries"].([]any) {
		hosts = append(hosts, r.(map[string]any)["hosts"].([]any)[0].(string))
	}
	if want := []string{"dev.acme.localhost", "acme.localhost", "prod.acme.localhost"}; !slices.Equal(hosts, want) || list["next_page_token"] != "" {
		t.Errorf("hosts %q, want %q; next page %v", hosts, want, list["next_page_token"])
	}

	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=registry.acme.example", `{"registry": "dev"}`)
	dev = a.call(200, "GET", "/v1/tenants/acme/registries/dev", "")
	if got := dev["hosts"].([]any); len(got) != 2 || got[1] != "registry.acme.example" {
		t.Errorf("hosts %v", got)
	}

	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "WRITER"}`)
	key := a.call(200, "POST", "/v1/tenants/acme/serviceAccounts/ci/keys", "")
	if secret, _ := key["secret"].(string); !strings.HasPrefix(secret, "berth_") || len(secret) != len("berth_")+43 {
		t.Errorf("key %v", key)
	}
	keys := a.call(200, "GET", "/v1/tenants/acme/serviceAccounts/ci/keys", "")["keys"].([]any)
	if k := keys[0].(map[string]any); len(keys) != 1 || k["name"] != key["name"] || k["secret"] != "" {
		t.Errorf("keys %v", keys)
	}

	usage := a.call(200, "GET", "/v1/tenants/acme/usage", "")
	if usage["name"] != "tenants/acme/usage" || usage["used_bytes"] != "0" || usage["limit_bytes"] != "0" {
		t.Errorf("usage %v", usage)
	}
	events := a.call(200, "GET", "/v1/tenants/acme/events", "")["events"].([]any)
	for _, e := range events {
		if e := e.(map[string]any); e["actor"] != "operator" || e["request_id"] == "" || e["time"] == nil {
			t.Errorf("event %v", e)
		}
	}
	if len(events) != 6 {
		t.Errorf("%d events: %v", len(events), events)
	}
}

func TestRESTUpdates(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")

	first := a.call(200, "GET", "/v1/tenants/acme/registries/main", "")
	second := a.call(200, "PATCH", "/v1/tenants/acme/registries/main", `{"anonymous_pull": true}`)
	if second["anonymous_pull"] != true || second["etag"] == first["etag"] {
		t.Errorf("after the update: %v", second)
	}
	// The mask decides, not the body.
	third := a.call(200, "PATCH", "/v1/tenants/acme/registries/main?update_mask=delete_referrers", `{"anonymous_pull": false, "delete_referrers": true}`)
	if third["anonymous_pull"] != true || third["delete_referrers"] != true {
		t.Errorf("after the masked update: %v", third)
	}
	if got := a.call(200, "PATCH", "/v1/tenants/acme/registries/main", `{"redirect_blobs": true}`); got["redirect_blobs"] != true || third["redirect_blobs"] != false {
		t.Errorf("redirect_blobs: %v before, %v after", third["redirect_blobs"], got["redirect_blobs"])
	}
	third = a.call(200, "PATCH", "/v1/tenants/acme/registries/main?update_mask=redirect_blobs", `{}`)
	if third["redirect_blobs"] != false || third["delete_referrers"] != true {
		t.Errorf("after it was switched off: %v", third)
	}
	// What was read can be sent back, and changes nothing.
	text, err := json.Marshal(third)
	if err != nil {
		t.Fatal(err)
	}
	if same := a.call(200, "PATCH", "/v1/tenants/acme/registries/main", string(text)); same["etag"] != third["etag"] {
		t.Errorf("an update that changes nothing moved the etag from %v to %v", third["etag"], same["etag"])
	}
	if got := a.call(409, "PATCH", "/v1/tenants/acme/registries/main", `{"read_only": true, "etag": "`+first["etag"].(string)+`"}`); reason(t, got) != "ETAG_MISMATCH" {
		t.Errorf("stale etag: %v", got)
	}
	if got := a.call(400, "PATCH", "/v1/tenants/acme/registries/main?update_mask=nonsense", `{}`); reason(t, got) != "REQUEST_INVALID" {
		t.Errorf("unknown path: %v", got)
	}

	a.call(404, "PATCH", "/v1/tenants/acme/registries/dev", `{"read_only": true}`)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev?allow_missing=true&validate_only=true", `{"read_only": true}`)
	a.call(404, "GET", "/v1/tenants/acme/registries/dev", "")
	if got := a.call(200, "PATCH", "/v1/tenants/acme/registries/dev?allow_missing=true", `{"read_only": true}`); got["read_only"] != true {
		t.Errorf("made by an update: %v", got)
	}

	if got := a.call(200, "PATCH", "/v1/tenants/acme", `{"quota_bytes": "1073741824"}`); got["quota_bytes"] != "1073741824" {
		t.Errorf("quota: %v", got)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/usage", ""); got["limit_bytes"] != "1073741824" {
		t.Errorf("usage: %v", got)
	}
	a.call(200, "POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "READER"}`)
	if got := a.call(200, "PATCH", "/v1/tenants/acme/serviceAccounts/ci", `{"role": "ADMIN", "disabled": true}`); got["role"] != "ADMIN" || got["disabled"] != true {
		t.Errorf("account: %v", got)
	}
}

func TestRESTDeletes(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{"registry": "dev"}`)
	secret := a.account("acme", "ci", "ADMIN")

	for _, path := range []string{"/v1/tenants/acme/domains/r.acme.example", "/v1/tenants/acme/registries/dev"} {
		a.call(200, "DELETE", path+"?validate_only=true", "")
		a.call(200, "GET", path, "")
		a.call(200, "DELETE", path, "")
		if strings.Contains(path, "domains") {
			a.call(404, "GET", path, "")
		}
		a.call(404, "DELETE", path, "")
		a.call(200, "DELETE", path+"?allow_missing=true", "")
	}
	if got := a.call(400, "DELETE", "/v1/tenants/acme/registries/main", ""); reason(t, got) != "REGISTRY_IS_MAIN" {
		t.Errorf("main: %v", got)
	}

	a.callAs(secret, 200, "GET", "/v1/tenants/acme", "")
	name := a.call(200, "GET", "/v1/tenants/acme/serviceAccounts/ci/keys", "")["keys"].([]any)[0].(map[string]any)["name"].(string)
	a.call(200, "DELETE", "/v1/"+name+"?validate_only=true", "")
	a.callAs(secret, 200, "GET", "/v1/tenants/acme", "")
	a.call(200, "DELETE", "/v1/"+name, "")
	a.callAs(secret, 401, "GET", "/v1/tenants/acme", "")
	a.call(200, "DELETE", "/v1/tenants/acme/serviceAccounts/ci", "")
	a.call(404, "GET", "/v1/tenants/acme/serviceAccounts/ci", "")

	a.call(409, "DELETE", "/v1/tenants/acme?etag=999", "")
	a.call(200, "DELETE", "/v1/tenants/acme", "")
	a.call(404, "GET", "/v1/tenants/acme/registries/main", "")
	if got := a.call(409, "POST", "/v1/tenants?tenant_id=acme", ""); reason(t, got) != "NAME_QUARANTINED" {
		t.Errorf("the name is free at once: %v", got)
	}
}

func TestRESTSuspendAndResume(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	secret := a.account("acme", "ci", "ADMIN")
	if got := a.call(200, "POST", "/v1/tenants/acme:suspend", ""); got["state"] != "SUSPENDED" {
		t.Errorf("suspended: %v", got)
	}
	a.callAs(secret, 401, "GET", "/v1/tenants/acme", "")
	a.callAs(secret, 401, "POST", "/v1/tenants/acme:resume", "")
	if got := a.call(200, "POST", "/v1/tenants/acme:resume", "{}"); got["state"] != "ACTIVE" {
		t.Errorf("resumed: %v", got)
	}
	a.callAs(secret, 200, "GET", "/v1/tenants/acme", "")
}

func TestRESTRefusesBadRequests(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/v1/tenants", `{}`},
		{"POST", "/v1/tenants?tenant_id=a", `{}`},
		{"POST", "/v1/tenants?tenant_id=Acme", `{}`},
		{"POST", "/v1/tenants?tenant_id=ac--me", `{}`},
		{"POST", "/v1/tenants?tenant_id=new", `{"quota_bytes": -1}`},
		{"POST", "/v1/tenants?tenant_id=new", `{"quota": 1}`},
		{"POST", "/v1/tenants?tenant_id=new", `{"display_name": "` + strings.Repeat("x", 201) + `"}`},
		{"POST", "/v1/tenants?tenant_id=new", `{"display_name": "a\nb"}`},
		{"POST", "/v1/tenants?tenant_id=new", `{"display_name": "x", "display_name": "y"}`},
		{"POST", "/v1/tenants?tenant_id=new", `not JSON`},
		{"POST", "/v1/tenants?tenant_id=new", `{"display_name": "` + strings.Repeat("x", maxMessage) + `"}`},
		{"POST", "/v1/tenants?tenant_id=new&validateonly=true", `{}`},
		{"POST", "/v1/tenants?tenant_id=new&tenant_id=old", `{}`},
		{"POST", "/v1/tenants?tenant_id=new&tenant.quota_bytes=7", `{}`},
		{"POST", "/v1/tenants?tenant_id=new&x=" + strings.Repeat("x", maxQuery), `{}`},
		{"POST", "/v1/tenants/acme/registries?registry_id=dev", `{"missing_references": "MAYBE"}`},
		{"POST", "/v1/tenants/acme/registries?registry_id=dev", `{"missing_references": 7}`},
		{"POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{}`},
		{"POST", "/v1/tenants/acme/serviceAccounts?service_account_id=ci", `{"role": "ROOT"}`},
		{"POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{}`},
		{"POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{"registry": "none"}`},
		{"POST", "/v1/tenants/acme/domains?domain_id=r.acme.example:5000", `{"registry": "main"}`},
		{"POST", "/v1/tenants/acme/domains?domain_id=dev.acme.localhost", `{"registry": "main"}`},
		{"POST", "/v1/tenants/acme/domains?domain_id=evil.localhost", `{"registry": "main"}`},
		{"POST", "/v1/tenants/acme/domains?domain_id=under_score", `{"registry": "main"}`},
		{"GET", "/v1/tenants/acme/registries/main/repositories/UPPER", ""},
		{"GET", "/v1/tenants/acme/registries/main/repositories/a/../b", ""},
		{"GET", "/v1/tenants/acme/registries/main/repositories/a//b", ""},
		{"GET", "/v1/tenants/acme/registries/main/repositories/%2e%2e", ""},
	} {
		got := a.call(400, tc.method, tc.path, tc.body)
		if r := reason(t, got); r != "REQUEST_INVALID" && r != "NAME_INVALID" {
			t.Errorf("%s %.80s: reason %s", tc.method, tc.path, r)
		}
	}
	if list := a.call(200, "GET", "/v1/tenants", "")["tenants"].([]any); len(list) != 1 {
		t.Errorf("tenants %v", list)
	}
	a.call(404, "GET", "/v2/", "")
	a.call(404, "GET", "/", "")
	for path, want := range map[string]string{"/v1/tenants/acme": "DELETE, GET, PATCH", "/v1/tenants": "GET, POST", "/v1/tenants/acme/events": "GET"} {
		resp, body := a.send(operatorToken, "PUT", path, "")
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != want || !strings.Contains(string(body), "this path accepts only "+want) {
			t.Errorf("PUT %s: %d, Allow %q, %s", path, resp.StatusCode, resp.Header.Get("Allow"), body)
		}
	}
	// The method is the request's.
	resp, _ := a.send(operatorToken, "POST", "/v1/tenants/acme", "", "X-HTTP-Method-Override: DELETE", "Content-Type: application/x-www-form-urlencoded")
	if resp.StatusCode != 405 {
		t.Errorf("an overridden method: %d", resp.StatusCode)
	}
	a.call(200, "GET", "/v1/tenants/acme", "")
}

func TestRESTNamesTheFieldAtFault(t *testing.T) {
	a := newAPI(t)
	got := a.call(400, "POST", "/v1/tenants?tenant_id=UPPER", "")
	for _, d := range got["details"].([]any) {
		if d := d.(map[string]any); d["@type"] == "type.googleapis.com/google.rpc.BadRequest" {
			v := d["field_violations"].([]any)[0].(map[string]any)
			if v["field"] != "tenant_id" || v["description"] == "" {
				t.Errorf("violation %v", v)
			}
			return
		}
	}
	t.Errorf("no violation in %v", got)
}

// TestP41_ADomainIsChanged leads a custom domain to another registry.
func TestP41_ADomainIsChanged(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	const domain = "/v1/tenants/acme/domains/r.acme.example"
	made := a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=r.acme.example", `{"registry": "main"}`)
	tried := a.call(200, "PATCH", domain+"?validate_only=true", `{"registry": "dev"}`)
	if tried["registry"] != "dev" || a.call(200, "GET", domain, "")["registry"] != "main" {
		t.Errorf("validate_only answered %v", tried)
	}
	changed := a.call(200, "PATCH", domain, `{"registry": "dev", "etag": "`+made["etag"].(string)+`"}`)
	if changed["registry"] != "dev" || changed["verified"] != true || changed["etag"] == made["etag"] {
		t.Errorf("changed to %v", changed)
	}
	if got := a.call(409, "PATCH", domain, `{"registry": "main", "etag": "`+made["etag"].(string)+`"}`); reason(t, got) != "ETAG_MISMATCH" {
		t.Errorf("a stale etag is answered %v", got)
	}
	a.call(400, "PATCH", domain, `{"registry": "none"}`)
	a.call(400, "PATCH", domain+"?update_mask=nonsense", `{}`)
	a.call(404, "PATCH", "/v1/tenants/acme/domains/other.example", `{"registry": "dev"}`)
	if again := a.call(200, "GET", domain, ""); again["registry"] != "dev" || again["etag"] != changed["etag"] {
		t.Errorf("refused changes left %v", again)
	}
	if new := a.call(200, "PATCH", "/v1/tenants/acme/domains/other.example?allow_missing=true", `{"registry": "dev"}`); new["registry"] != "dev" {
		t.Errorf("allow_missing made %v", new)
	}
}

func TestP40_OpenAPIIsServedToEverybody(t *testing.T) {
	a := newAPI(t)
	for path, want := range map[string][]byte{"/openapi.json": pb.OpenAPI, "/openapi-3.1.json": pb.OpenAPI31} {
		resp, text := a.send("", "GET", path, "")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || !slices.Equal(text, want) {
			t.Errorf("%s: %d %s, %d bytes", path, resp.StatusCode, resp.Header.Get("Content-Type"), len(text))
		}
	}
}

// TestP40_OpenAPI31IsValid reads the document by a library that knows the
// specification, and looks for what clients of PATCH must know.
func TestP40_OpenAPI31IsValid(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(pb.OpenAPI31)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("the document is of OpenAPI %s", doc.OpenAPI)
	}
	patches := 0
	for path, item := range doc.Paths.Map() {
		if item.Patch == nil {
			continue
		}
		patches++
		if p := item.Patch.Parameters.GetByInAndName("query", "update_mask"); p == nil || p.Description == "" {
			t.Errorf("PATCH %s does not describe update_mask", path)
		}
	}
	if patches == 0 {
		t.Error("the document has no PATCH")
	}
}
