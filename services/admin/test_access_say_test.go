package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "github.com/berth-registry/berth/api/berth/admin/v1"
)

// said is a verdict in a line.
func said(m *pb.TestAccessResponse, action pb.AccessRule_Action) string {
	last := func(name string) string { return name[strings.LastIndex(name, "/")+1:] }
	for _, v := range m.GetVerdicts() {
		if v.GetAction() != action {
			continue
		}
		words := []string{fmt.Sprint(v.GetAllowed())}
		for _, r := range v.GetReasons() {
			words = append(words, strings.TrimSpace(r.GetKind().String()+" "+last(r.GetAccessRule())+" "+r.GetPrincipal()+" "+r.GetPattern()))
		}
		for _, n := range v.GetNearMisses() {
			words = append(words, fmt.Sprint("near ", last(n.GetAccessRule()), n.GetWhy()))
		}
		return strings.Join(words, "; ")
	}
	return "nothing is said"
}

// TestU93_TestAccessSaysWhy shows which rule decides, and why others do not count.
func TestU93_TestAccessSaysWhy(t *testing.T) {
	a := newRightsAPI(t)
	a.call(200, "POST", "/v1/tenants/acme/groups?group_id=ops", "")
	for id, body := range map[string]string{
		"give":     `"effect": "ALLOW", "principals": ["groups/team"], "registries": ["dev"], "repositories": ["foo/**"], "actions": ["PULL", "PUSH"]`,
		"take":     `"effect": "DENY", "principals": ["users/alice"], "repositories": ["foo/secret"], "actions": ["PUSH"]`,
		"office":   `"effect": "ALLOW", "principals": ["users/alice"], "repositories": ["**"], "actions": ["DELETE"], "networks": ["192.0.2.0/24"]`,
		"ops":      `"effect": "ALLOW", "principals": ["groups/ops"], "repositories": ["foo/**"], "actions": ["DELETE"]`,
		"disabled": `"effect": "ALLOW", "principals": ["authenticated"], "repositories": ["**"], "actions": ["DELETE"], "disabled": true`,
		"far":      `"effect": "ALLOW", "principals": ["groups/ops"], "registries": ["prod"], "repositories": ["bar"], "actions": ["DELETE"]`,
		"ended":    `"effect": "ALLOW", "principals": ["users/alice"], "repositories": ["**"], "actions": ["DELETE"]`,
	} {
		a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id="+id, "{"+body+"}")
	}
	a.call(200, "PATCH", "/v1/tenants/acme/accessRules/ended", `{"expire_time": "2026-01-01T00:00:00Z"}`)
	ask := func(who, reference string) *pb.TestAccessResponse {
		return a.testAccess(&pb.TestAccessRequest{Principal: who, Registry: "dev", Reference: reference, Address: "198.51.100.7"})
	}
	for _, c := range []struct {
		who, reference string
		action         pb.AccessRule_Action
		want           string
	}{
		{"users/alice", "foo/img:1", pb.AccessRule_PUSH, "true; ACCESS_RULE give groups/team foo/**; near take[REPOSITORY]"},
		{"users/alice", "foo/secret", pb.AccessRule_PUSH, "false; ACCESS_RULE take users/alice foo/secret; near give[OVERRULED]; near disabled[ACTION DISABLED]; near ended[ENDED ACTION]; near office[NETWORK ACTION]; near ops[PRINCIPAL ACTION]"},
		{"users/alice", "foo/img", pb.AccessRule_DELETE, "false; near disabled[DISABLED]; near ended[ENDED]; near give[ACTION]; near office[NETWORK]; near ops[PRINCIPAL]"},
		{"users/alice", "foo/img", pb.AccessRule_FILL, "false; near give[ACTION]; near disabled[ACTION DISABLED]; near ended[ENDED ACTION]; near office[NETWORK ACTION]; near ops[PRINCIPAL ACTION]"},
		{"users/bob", "bar", pb.AccessRule_PUSH, "true; ROLE; near take[PRINCIPAL REPOSITORY]"},
		{"users/bob", "bar", pb.AccessRule_ADMIN, "false; near disabled[ACTION DISABLED]"},
		{"anonymous", "foo/img", pb.AccessRule_PULL, "false; near give[PRINCIPAL]; near ops[PRINCIPAL ACTION]"},
		{"users/bob", "proxy/hub.example/foo", pb.AccessRule_PUSH, "false; OTHER_REGISTRY"},
	} {
		if got := said(ask(c.who, c.reference), c.action); got != c.want {
			t.Errorf("%s, %s, %s:\n got %s\nwant %s", c.who, c.reference, c.action, got, c.want)
		}
	}
	m := ask("users/alice", "foo/img")
	if got := m.GetGroups(); !slices.Equal(got, []string{"groups/team"}) || m.GetRegistry() != "tenants/acme/registries/dev" || m.GetRole() != pb.ServiceAccount_MEMBER {
		t.Errorf("%v", m)
	}
	a.call(200, "PATCH", ofUsers+"/alice", `{"disabled": true}`)
	if m := ask("users/alice", "foo/img"); m.GetBlocked() == "" || said(m, pb.AccessRule_PULL) != "false" || asked(m) != "" {
		t.Errorf("a disabled account: %v", m)
	}
}

// TestU93_TestAccessShowsEachMember, with what decides about it.
func TestU93_TestAccessShowsEachMember(t *testing.T) {
	a := newRightsAPI(t)
	a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id=dev",
		`{"effect": "ALLOW", "principals": ["users/alice"], "registries": ["dev"], "repositories": ["**"], "actions": ["PULL", "FILL"]}`)
	members := func(who string) []string {
		var lines []string
		for _, m := range a.testAccess(&pb.TestAccessRequest{Principal: who, Registry: "dev", Reference: "app"}).GetMembers() {
			line := m.GetMember() + " " + fmt.Sprint(m.GetAsked())
			for _, v := range m.GetVerdicts() {
				line += " " + v.GetAction().String() + " " + fmt.Sprint(v.GetAllowed())
				for _, r := range v.GetReasons() {
					line += " " + r.GetKind().String() + " " + r.GetRegistry()
				}
			}
			lines = append(lines, line)
		}
		return lines
	}
	const hub = "upstreams/hub true PULL true ACCESS_RULE registries/dev FILL true ACCESS_RULE registries/dev"
	if got, want := members("users/alice"), []string{"registries/prod false PULL false FILL false", hub}; !slices.Equal(got, want) {
		t.Errorf("without delegate:\n got %q\nwant %q", got, want)
	}
	a.call(200, "PATCH", "/v1/tenants/acme/upstreamGroups/chain", `{"members": [{"registry": "prod", "delegate": true}, {"upstream": "hub"}]}`)
	delegated := []string{"registries/prod true PULL true DELEGATE  FILL true DELEGATE ", "registries/base false PULL false FILL false", hub, hub}
	if got := members("users/alice"); !slices.Equal(got, delegated) {
		t.Errorf("with delegate:\n got %q\nwant %q", got, delegated)
	}
	a.push("acme", "prod", "app", "1") // which claims the name
	m := a.testAccess(&pb.TestAccessRequest{Principal: "users/alice", Registry: "dev", Reference: "app"})
	if last := m.GetMembers()[3]; last.GetAsked() || !strings.Contains(last.GetDetail(), "claims this name") {
		t.Errorf("a claimed name: %v", last)
	}
	if m := a.testAccess(&pb.TestAccessRequest{Principal: "users/alice", Registry: "dev", Reference: "proxy/hub.example/app"}); asked(m) != "upstreams/hub" {
		t.Errorf("below proxy/: %v", m)
	}
}

// TestU94_TestAccessTellsOnlyWhatTheCallerMaySee: accounts test themselves, in registries that they
// see, and learn of no rule that does not name them, no upstream, and no other tenant.
func TestU94_TestAccessTellsOnlyWhatTheCallerMaySee(t *testing.T) {
	a := newRightsAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=evil", "")
	a.call(200, "POST", "/v1/tenants/evil/domains?domain_id=registry.evil.example", `{"registry": "main"}`)
	member, auditor := a.account("acme", "member", "MEMBER"), a.account("acme", "auditor", "AUDITOR")
	a.rule("acme", "member", `"registries": ["dev"], "repositories": ["team/*"], "actions": ["PULL"]`)
	a.rule("acme", "ci", `"registries": ["dev"], "repositories": ["team/*"], "actions": ["PUSH", "PULL"]`)
	const path = "/v1/tenants/acme:testAccess"
	for _, body := range []string{
		`{"registry": "dev", "reference": "team/app"}`, `{"principal": "serviceAccounts/member", "host": "DEV.acme.localhost:5000", "reference": "team/app:1"}`,
	} {
		resp, text := a.send(member, "POST", path, body)
		for _, hidden := range []string{"hub", "prod", "accessRules/ci"} {
			if strings.Contains(string(text), hidden) {
				t.Errorf("%s tells of %s: %s", body, hidden, text)
			}
		}
		if resp.StatusCode != 200 || !strings.Contains(string(text), "accessRules/member") {
			t.Errorf("%s: %d %s", body, resp.StatusCode, text)
		}
	}
	for _, who := range []string{"anonymous", "users/alice", "users/missing", "serviceAccounts/ci", "groups/team"} {
		a.callAs(member, 403, "POST", path, `{"principal": "`+who+`", "registry": "dev", "reference": "team/app"}`)
	}
	var first string
	for _, where := range []string{
		`"registry": "prod"`, `"registry": "missing"`, `"host": "prod.acme.localhost"`, `"host": "missing.acme.localhost"`,
		`"host": "evil.localhost"`, `"host": "registry.evil.example"`, `"host": "registry.missing.example"`, `"host": "a b"`,
	} {
		resp, text := a.send(member, "POST", path, `{`+where+`, "reference": "team/app"}`)
		if first == "" {
			first = string(text)
		}
		if resp.StatusCode != 404 || string(text) != first {
			t.Errorf("%s: %d %s, not %s", where, resp.StatusCode, text, first)
		}
	}
	foreign := a.callAs(auditor, 404, "POST", path, `{"principal": "anonymous", "host": "evil.localhost", "reference": "a"}`)["message"].(string)
	missing := a.callAs(auditor, 404, "POST", path, `{"principal": "anonymous", "host": "none.localhost", "reference": "a"}`)["message"].(string)
	if strings.ReplaceAll(foreign, "evil", "none") != missing {
		t.Errorf("a host of another tenant: %s, a missing one: %s", foreign, missing)
	}
	a.callAs(auditor, 200, "POST", path, `{"principal": "users/alice", "registry": "dev", "reference": "a"}`)
	for _, body := range []string{
		`{"registry": "dev", "reference": "a"}`, `{"principal": "authenticated", "registry": "dev", "reference": "a"}`, `{"principal": "anonymous", "reference": "a"}`,
		`{"principal": "anonymous", "registry": "dev", "host": "dev.acme.localhost", "reference": "a"}`, `{"principal": "anonymous", "registry": "dev", "reference": "A"}`,
		`{"principal": "anonymous", "registry": "dev"}`, `{"principal": "anonymous", "registry": "dev", "reference": "a", "address": "office"}`,
		`{"principal": "anonymous", "registry": "D", "reference": "a"}`,
	} {
		a.call(400, "POST", path, body)
	}
}

// TestU94_TestAccessIsBounded where a tenant has many rules.
func TestU94_TestAccessIsBounded(t *testing.T) {
	a := newRightsAPI(t)
	for i := range 3 * maxNearMisses {
		for _, effect := range []string{"ALLOW", "DENY"} {
			a.call(200, "POST", fmt.Sprintf("/v1/tenants/acme/accessRules?access_rule_id=r-%d-%s", i, strings.ToLower(effect)),
				fmt.Sprintf(`{"effect": %q, "principals": ["users/alice"], "registries": ["dev"], "repositories": ["foo"], "actions": ["PULL"]}`, effect))
		}
	}
	m := a.testAccess(&pb.TestAccessRequest{Principal: "users/alice", Registry: "dev", Reference: "foo"})
	if pull := m.GetVerdicts()[0]; pull.GetAllowed() || len(pull.GetReasons()) != maxReasons || len(pull.GetNearMisses()) != maxNearMisses {
		t.Errorf("%d reasons, %d near misses", len(pull.GetReasons()), len(pull.GetNearMisses()))
	}
}
