package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func TestHostAliasesLeadToOneUpstream(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", upstreams+"?upstream_id=hub", `{"url": "https://registry-1.docker.io"}`)
	// The host of another one's URL may be taken over: a mirror is made like this.
	a.call(200, "POST", upstreams+"?upstream_id=mirror",
		`{"url": "https://mirror.example", "host_aliases": ["docker.io", "index.docker.io", "[2001:db8::1]:5000", "short"]}`)
	if got := fmt.Sprint(a.call(200, "GET", upstreams+"/mirror", "")["host_aliases"]); got != "[docker.io index.docker.io [2001:db8::1]:5000 short]" {
		t.Errorf("aliases %s", got)
	}
	for _, c := range [][3]string{
		{"other", `{"url": "https://a", "host_aliases": ["registry-1.docker.io"]}`, "host_aliases"}, // another name of docker.io
		{"other", `{"url": "https://a", "host_aliases": ["hub"]}`, "host_aliases"},
		{"other", `{"url": "https://a", "host_aliases": ["SHORT"]}`, "host_aliases"},
		{"other", `{"url": "https://a", "host_aliases": ["[2001:DB8:0::1]:5000"]}`, "host_aliases"},
		{"short", `{"url": "https://a"}`, "upstream_id"},
	} {
		if got := a.call(409, "POST", upstreams+"?upstream_id="+c[0], c[1]); !strings.Contains(fmt.Sprint(got), "field:"+c[2]) {
			t.Errorf("%v: %v", c, got)
		}
	}
	a.call(200, "POST", upstreams+"?upstream_id=other", `{"url": "https://a", "host_aliases": ["[2001:db8::1]:5001", "docker.io.example"]}`)
	a.call(200, "PATCH", upstreams+"/mirror", `{"host_aliases": ["docker.io"]}`) // its own
	// Another tenant has names of its own.
	a.call(200, "POST", "/v1/tenants?tenant_id=other", "")
	a.call(200, "POST", "/v1/tenants/other/upstreams?upstream_id=mirror", `{"url": "https://a", "host_aliases": ["docker.io"]}`)
}

func TestUpstreamsAndGroupsAreCounted(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for i := range meta.DefaultLimits.Groups {
		a.call(200, "POST", fmt.Sprintf("%s?upstream_id=u%d", upstreams, i), `{"url": "https://ghcr.io"}`)
		a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/upstreamGroups?upstream_group_id=g%d", i), "")
	}
	for _, path := range []string{"/upstreams?upstream_id=more", "/upstreamGroups?upstream_group_id=more"} {
		body := ""
		if strings.HasPrefix(path, "/upstreams?") {
			body = `{"url": "https://ghcr.io"}`
		}
		if got := reason(t, a.call(400, "POST", "/v1/tenants/acme"+path, body)); got != string(fault.LimitReached) {
			t.Errorf("%s: %s", path, got)
		}
	}
	a.call(200, "PATCH", upstreams+"/u7", `{"max_bytes": 7}`)
	a.call(200, "DELETE", upstreams+"/u7", "")
	a.call(200, "POST", upstreams+"?upstream_id=more", `{"url": "https://ghcr.io"}`)
}

// Validation finds what the store would.
func TestGroupsOfWhatIsNotThereAreRefusedAlsoByValidation(t *testing.T) {
	a := withChain(t)
	for _, member := range []string{`{"registry": "nobody"}`, `{"upstream": "nobody"}`, `{"registry": "ghcr"}`, `{"upstream": "prod"}`} {
		for _, query := range []string{"", "&validate_only=true"} {
			got := a.call(400, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=new"+query, `{"members": [`+member+`]}`)
			if !strings.Contains(fmt.Sprint(got), "field:members[0].") {
				t.Errorf("%s%s: %v", member, query, got)
			}
		}
	}
	members := make([]string, 65)
	for i := range members {
		members[i] = `{"registry": "dev"}`
	}
	a.call(400, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=new", `{"members": [`+strings.Join(members, ",")+`]}`)
}

func TestUpstreamsAnswerAsAllResourcesDo(t *testing.T) {
	a := withChain(t)
	for _, r := range []struct{ path, create, change, field string }{
		{"upstreams", `{"url": "https://quay.io"}`, `{"max_bytes": "7"}`, "max_bytes"},
		{"upstreamGroups", `{"members": [{"registry": "prod"}]}`, `{"members": [{"registry": "dev"}]}`, "members"},
	} {
		id := map[string]string{"upstreams": "upstream_id", "upstreamGroups": "upstream_group_id"}[r.path]
		all := "/v1/tenants/acme/" + r.path
		if got := a.call(200, "POST", all+"?"+id+"=new&validate_only=true", r.create); got["etag"] != "" || got["create_time"] != nil {
			t.Errorf("validated: %v", got)
		}
		a.call(404, "GET", all+"/new", "")
		a.call(404, "PATCH", all+"/new", r.create)
		made := a.call(200, "PATCH", all+"/new?allow_missing=true", r.create)
		a.call(409, "POST", all+"?"+id+"=new", r.create)
		a.call(409, "POST", all+"?"+id+"=new&validate_only=true", r.create)
		a.call(400, "POST", all+"?"+id+"=UPPER", r.create)
		if got := a.call(200, "PATCH", all+"/new?validate_only=true", r.change); fmt.Sprint(got[r.field]) == fmt.Sprint(made[r.field]) {
			t.Errorf("validated: %v", got)
		}
		if got := a.call(200, "GET", all+"/new", ""); fmt.Sprint(got) != fmt.Sprint(made) {
			t.Errorf("%v, made as %v", got, made)
		}
		changed := a.call(200, "PATCH", all+"/new", r.change)
		if changed["etag"] == made["etag"] || fmt.Sprint(changed[r.field]) == fmt.Sprint(made[r.field]) {
			t.Errorf("changed: %v", changed)
		}
		if again := a.call(200, "PATCH", all+"/new", r.change); again["etag"] != changed["etag"] {
			t.Errorf("the same again: %v", again)
		}
		a.call(409, "PATCH", all+"/new", `{"etag": "`+made["etag"].(string)+`"}`)
		a.call(400, "PATCH", all+"/new?update_mask=nothing", r.change)
		a.call(409, "DELETE", all+"/new?etag="+made["etag"].(string), "")
		a.call(200, "DELETE", all+"/new?validate_only=true", "")
		a.call(200, "DELETE", all+"/new?etag="+changed["etag"].(string), "")
		a.call(404, "DELETE", all+"/new", "")
		a.call(200, "DELETE", all+"/new?allow_missing=true", "")
	}
}

// Whatever an address leads to, open, closed or nothing, the answer is the same:
// nothing is looked up or connected to (contract row E1).
func TestE1_TheAPIIsNoPortScanner(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	var first string
	for _, host := range []string{
		"127.0.0.1:22", strings.TrimPrefix(a.url, "http://"), "169.254.169.254", "10.0.0.1", "[::1]:5432", "[::ffff:10.0.0.1]",
		"localhost", "metadata.google.internal", "no-such-host.invalid", "ghcr.io",
	} {
		resp, text := a.send(operatorToken, "POST", upstreams+"?upstream_id=scan&validate_only=true", `{"url": "http://`+host+`"}`)
		got := fmt.Sprint(resp.StatusCode, strings.Replace(string(text), host, "HOST", 1))
		if first == "" {
			first = got
		}
		if resp.StatusCode != 200 || got != first {
			t.Errorf("%s: %s, and not %s", host, got, first)
		}
	}
}
