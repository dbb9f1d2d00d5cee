package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
	"github.com/berth-registry/berth/pkg/fault"
)

// TestN8_DurationsAndSizesAreTakenAsPeopleWriteThem, and answered in one form.
func TestN8_DurationsAndSizesAreTakenAsPeopleWriteThem(t *testing.T) {
	a := newAPI(t)
	for written, want := range map[string]string{
		`"10GiB"`: "10737418240", `"10GB"`: "10000000000", `"7 MiB"`: "7340032", `"5"`: "5", `5`: "5", `0`: "0", `"1KB"`: "1000",
	} {
		a.call(200, "POST", "/v1/tenants?tenant_id=other&validate_only=true", `{"quota_bytes": `+written+`}`)
		got := a.call(200, "PATCH", "/v1/tenants/acme?allow_missing=true", `{"quota_bytes": `+written+`}`)
		if got["quota_bytes"] != want {
			t.Errorf("%s is taken for %v", written, got["quota_bytes"])
		}
	}
	for written, want := range map[string]string{
		"5m": "300s", "300s": "300s", "1h30m": "5400s", "1.5s": "1.500s", "1500ms": "1.500s", "720h": "2592000s", "0s": "0s",
	} {
		got := a.call(200, "PATCH", "/v1/tenants/acme/upstreams/ghcr?allow_missing=true", `{"url": "https://ghcr.io", "max_bytes": "1GiB", "tag_ttl": "`+written+`"}`)
		if got["tag_ttl"] != want || got["max_bytes"] != "1073741824" {
			t.Errorf("%s is taken for %v", written, got["tag_ttl"])
		}
	}
	account := a.account("acme", "ci", "READER")
	key := a.call(200, "POST", "/v1/tenants/acme/serviceAccounts/ci/keys", `{"ttl": "90m"}`)
	if account == "" || key["expire_time"] == nil {
		t.Errorf("%v", key)
	}
}

// TestN9_InputErrorsNameFieldValueAndWhatIsTaken, as they are written in JSON.
func TestN9_InputErrorsNameFieldValueAndWhatIsTaken(t *testing.T) {
	a := withChain(t)
	long := strings.Repeat("x", 1000)
	for _, c := range [][4]string{
		{"POST", "tenants?tenant_id=new", `{"quota_bytes": "10 gigs"}`, `quota_bytes: "10 gigs" is not a number of bytes, such as 10737418240, "10GiB" or "10GB"`},
		{"POST", "tenants?tenant_id=new", `{"quota": 1}`, `quota: unknown field "quota"; known fields: display_name, quota_bytes`},
		{"POST", "tenants?tenant_id=new", `{"display_name": 7}`, `display_name: 7 is not text; put it in quotes`},
		{"POST", "tenants?tenant_id=new", `[]`, `body: [] is not an object`},
		{"POST", "tenants?tenant_id=new", `{"display_name"`, `body: it is not JSON`},
		{"POST", "tenants?tenant_id=new", `{"display_name": }`, `body: it is not JSON, at byte `},
		{"POST", "tenants", `{}`, `tenant_id: it is missing; over REST it is a parameter of the query: …?tenant_id=acme`},
		{"POST", "tenants/acme/registries", `{}`, `registry_id: it is missing`},
		{"POST", "tenants/acme/upstreams", `{}`, `upstream_id: it is missing`},
		{"POST", "tenants/acme/upstreamGroups", `{}`, `upstream_group_id: it is missing`},
		{"POST", "tenants/acme/domains", `{}`, `domain_id: it is missing`},
		{"POST", "tenants/acme/serviceAccounts", `{"role": "READER"}`, `service_account_id: it is missing`},
		{"POST", "tenants?tenant=new", `{}`, `tenant: unknown parameter "tenant"; known parameters: tenant_id, validate_only`},
		{"PATCH", "tenants/acme/registries/dev", `{"anonymous_pull": "yes"}`, `anonymous_pull: "yes" is neither true nor false`},
		{"PATCH", "tenants/acme/registries/dev", `{"missing_references": "MAYBE"}`, `missing_references: "MAYBE" is not one of REJECT, ALLOW`},
		{"PATCH", "tenants/acme/registries/dev?update_mask=anonymous_pul", `{}`, `update_mask: unknown field "anonymous_pul"; known fields: anonymous_pull, `},
		{"POST", "tenants/acme/serviceAccounts?service_account_id=new", `{"role": "OWNER"}`, `role: "OWNER" is not one of READER, WRITER, ADMIN`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"tag_ttl": "soon"}`, `tag_ttl: "soon" is not a duration, such as "300s", "5m" or "720h"`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"tag_ttl": 300}`, `tag_ttl: 300 is not a duration`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"keep": "1s"}`, `keep: 1s is out of range: from 1m0s to 87600h`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"include": ["ok", "[a"]}`, `include[1]: "[a" is not a valid name pattern`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"include": "a"}`, `include: "a" is not a list`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"host_aliases": ["a", "b c"]}`, `host_aliases[1]: "b c" is not the name of a host`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"name_prefix": "` + long + `"}`, `name_prefix: "xxx`},
		{"PATCH", "tenants/acme/upstreams/ghcr", `{"password": 7}`, `password: the value is not text`},
		{"PATCH", "tenants/acme/upstreamGroups/chain", `{"members": [{"registry": "prod"}, {"upstream": "none"}]}`, `members[1].upstream: upstream "none" not found in this tenant`},
		{"PATCH", "tenants/acme/upstreamGroups/chain", `{"members": [{"registry": "prod", "on_outage": "GO"}]}`, `members[0].on_outage: "GO" is not one of STOP, CONTINUE`},
		{"PATCH", "tenants/acme/upstreamGroups/chain", `{"members": [{"registry": "prod", "exclude": [""]}]}`, `members[0].exclude[0]: "" is not a valid name pattern`},
	} {
		got := a.call(400, c[0], "/v1/"+c[1], c[2])
		message := got["message"].(string)
		if !strings.HasPrefix(message, c[3]) || len(message) > 600 {
			t.Errorf("%s %s %.80s: %s", c[0], c[1], c[2], message)
		}
		field, _, _ := strings.Cut(c[3], ":")
		if !strings.Contains(fmt.Sprint(got["details"]), "field:"+field+" ") {
			t.Errorf("%s %s: no violation of %s in %v", c[0], c[1], field, got["details"])
		}
		if strings.Contains(fmt.Sprint(got["details"]), "known fields") {
			t.Errorf("%s %s: the known fields are there twice: %v", c[0], c[1], got)
		}
	}
	if got := a.call(400, "PATCH", "/v1/tenants/acme/registries/dev", `{}`)["message"]; got != "nothing to change: give a field to set or update_mask" {
		t.Errorf("an empty change is answered %q", got)
	}
}

// TestN10_ReferencesWithTheirHost are understood where it is the registry's.
func TestN10_ReferencesWithTheirHost(t *testing.T) {
	a := withChain(t)
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=registry.acme.example", `{"registry": "dev"}`)
	a.call(200, "POST", "/v1/tenants/acme/domains?domain_id=other.acme.example", `{"registry": "prod"}`)
	resolve := func(want int, reference string) map[string]any {
		t.Helper()
		return a.call(want, "GET", "/v1/tenants/acme/registries/dev:resolve?reference="+reference, "")
	}
	for reference, want := range map[string]string{
		"app:1": "app", "dev.acme.localhost:5000/app:1": "app", "dev.acme.localhost/team/app": "team/app", "DEV.acme.localhost:80/app:1": "app",
		"registry.acme.example/app@sha256:" + strings.Repeat("0", 64): "app", "some.thing/app:1": "some.thing/app", "team/app": "team/app",
	} {
		if got := resolve(200, reference)["repository"]; got != want {
			t.Errorf("%s is taken for %v", reference, got)
		}
	}
	for reference, want := range map[string]string{
		"prod.acme.localhost:5000/app:1":  `host "prod.acme.localhost:5000" is not of this registry, which answers at dev.acme.localhost, registry.acme.example`,
		"localhost/app:1":                 `host "localhost" is not of this registry`,
		"other.acme.example/app":          `host "other.acme.example" is not of this registry`,
		"elsewhere.example:5000/app:1":    `host "elsewhere.example:5000" is not of this registry`,
		"ghcr.io/fluxcd/flux-cli:v2.4.0":  `"ghcr.io/fluxcd/flux-cli:v2.4.0" is of upstream "ghcr"; through this registry it is proxy/ghcr.io/fluxcd/flux-cli:v2.4.0`,
		"":                                `it is missing: …?reference=app:1`,
		"dev.acme.localhost:5000/UPPER:1": `reference: `,
	} {
		if got := resolve(400, reference)["message"].(string); !strings.Contains(got, want) || !strings.HasPrefix(got, "reference: ") {
			t.Errorf("%q: %s", reference, got)
		}
	}
}

// FuzzInput holds bodies against protojson: what passes here is read there, except
// for what is more than a type can hold.
func FuzzInput(f *testing.F) {
	f.Add(`{"url": "https://a", "tag_ttl": "5m", "max_bytes": "10GiB", "include": ["a"], "status": {"state": "OK"}}`)
	f.Add(`{"tag_ttl": "-1ns", "max_bytes": 1e3, "create_time": "2026-01-01T00:00:00Z"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return // what reads a body gives one value
		}
		read, err := readInput([]byte(text), &pb.Upstream{})
		if err != nil {
			if told := fault.KindOf(err) == fault.Invalid || errors.As(err, new(inputError)); !told {
				t.Errorf("%q is refused by %v, which says nothing about it", text, err)
			}
			return
		}
		if !json.Valid(read) {
			t.Errorf("%q becomes %q", text, read)
		}
		if m := (&pb.Upstream{}); protojson.Unmarshal(read, m) == nil {
			if _, err := proto.Marshal(m); err != nil {
				t.Errorf("%q is read as what cannot be written: %v", text, err)
			}
		}
	})
}
