package admin

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/seal"
)

const upstreams = "/v1/tenants/acme/upstreams"

// withChain has the registries dev and prod, the upstream ghcr, and dev's group
// of both.
func withChain(t *testing.T, change ...func(*Config, *Options)) *api {
	t.Helper()
	a := newAPI(t, change...)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, slug := range []string{"dev", "prod"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+slug, "")
	}
	a.call(200, "POST", upstreams+"?upstream_id=ghcr", `{"url": "https://ghcr.io"}`)
	a.call(200, "POST", "/v1/tenants/acme/upstreamGroups?upstream_group_id=chain", `{"members": [
		{"registry": "prod"}, {"upstream": "ghcr", "include": ["team-*/**"], "on_outage": "CONTINUE"}]}`)
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev", `{"upstream_group": "chain"}`)
	return a
}

func TestUpstreamsHaveDefaultsAndKeepWhatIsSet(t *testing.T) {
	a := withChain(t)
	got := a.call(200, "GET", upstreams+"/ghcr", "")
	for field, want := range map[string]any{
		"tag_ttl": "300s", "negative_ttl": "30s", "stale_if_error": "2592000s", "keep": "2592000s", "password": "", "password_set": false, "max_bytes": "0",
	} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	got = a.call(200, "PATCH", upstreams+"/ghcr", `{"stale_if_error": "0s", "name_prefix": "acme/", "host_aliases": ["GitHub.Example:5000"], "include": ["acme/**"]}`)
	if got["stale_if_error"] != "0s" || got["name_prefix"] != "acme/" || fmt.Sprint(got["host_aliases"]) != "[github.example:5000]" || got["tag_ttl"] != "300s" {
		t.Errorf("after the update: %v", got)
	}
	group := fmt.Sprint(a.call(200, "GET", "/v1/tenants/acme/upstreamGroups/chain", "")["members"])
	for _, want := range []string{"registry:prod", "upstream:ghcr", "include:[team-*/**]", "on_outage:CONTINUE", "on_denied:POLICY_UNSPECIFIED"} {
		if !strings.Contains(group, want) {
			t.Errorf("no %s in %s", want, group)
		}
	}
}

func TestUpstreamsRefuseWhatCannotBe(t *testing.T) {
	a := withChain(t)
	a.call(200, "POST", upstreams+"?upstream_id=other", `{"url": "https://quay.io", "host_aliases": ["taken.example"]}`)
	long := strings.Repeat("a", 300)
	for _, c := range [][2]string{
		{`{}`, "url"},
		{`{"url": "ghcr.io"}`, "url"},
		{`{"url": "https://user:pw@ghcr.io"}`, "url"},
		{`{"url": "ftp://ghcr.io"}`, "url"},
		{`{"url": "https://ghcr.io/v2/?x"}`, "url"},
		{`{"url": "https://0x7f.1"}`, "url"},
		{`{"url": "https://a", "password": "p"}`, "username"},
		{`{"url": "https://a", "username": "a:b"}`, "username"},
		{`{"url": "https://a", "username": "a", "password": "\u0000"}`, "password"},
		{`{"url": "https://a", "name_prefix": "acme"}`, "name_prefix"},
		{`{"url": "https://a", "name_prefix": "/"}`, "name_prefix"},
		{`{"url": "https://a", "include": ["[a"]}`, "include[0]"},
		{`{"url": "https://a", "exclude": ["{a,b}"]}`, "exclude[0]"},
		{`{"url": "https://a", "allow_claimed": ["` + long + `"]}`, "allow_claimed[0]"},
		{`{"url": "https://a", "host_aliases": ["a b"]}`, "host_aliases[0]"},
		{`{"url": "https://a", "host_aliases": ["a", "A"]}`, "host_aliases[1]"},
		{`{"url": "https://a", "host_aliases": ["taken.example"]}`, "host_aliases"},
		{`{"url": "https://a", "host_aliases": ["ghcr"]}`, "host_aliases"},
		{`{"url": "https://a", "auth_hosts": ["https://a"]}`, "auth_hosts[0]"},
		{`{"url": "https://a", "tag_ttl": "-1s"}`, "tag_ttl"},
		{`{"url": "https://a", "keep": "1s"}`, "keep"},
		{`{"url": "https://a", "stale_if_error": "315360001s"}`, "stale_if_error"},
		{`{"url": "https://a", "max_bytes": "-1"}`, "max_bytes"},
	} {
		body, field := c[0], c[1]
		resp, text := a.send(operatorToken, "POST", upstreams+"?upstream_id=new", body)
		if (resp.StatusCode != 400 && resp.StatusCode != 409) || !strings.Contains(string(text), `"field":"`+field+`"`) && !strings.Contains(string(text), `"field": "`+field+`"`) {
			t.Errorf("%s: %d %s, want a violation of %s", body, resp.StatusCode, text, field)
		}
	}
	a.call(404, "GET", upstreams+"/new", "")
}

func TestE12_CyclesOfGroupsAreRefused(t *testing.T) {
	a := withChain(t)
	groups := "/v1/tenants/acme/upstreamGroups"
	a.call(200, "POST", groups+"?upstream_group_id=back", `{"members": [{"registry": "dev"}]}`)
	for _, c := range [][3]string{
		{"PATCH", "/v1/tenants/acme/registries/prod", `{"upstream_group": "back"}`},
		{"PATCH", groups + "/chain", `{"members": [{"registry": "dev"}]}`},
		{"POST", groups + "?upstream_group_id=new", `{"members": [{"registry": "nobody"}]}`},
		{"POST", groups + "?upstream_group_id=new", `{"members": [{"upstream": "nobody"}]}`},
		{"POST", groups + "?upstream_group_id=new", `{"members": [{}]}`},
		{"POST", groups + "?upstream_group_id=new", `{"members": [{"registry": "dev"}, {"registry": "dev"}]}`},
		{"POST", groups + "?upstream_group_id=new", `{"members": [{"registry": "dev", "on_outage": 7}]}`},
		{"POST", groups + "?upstream_group_id=new", `{"members": [{"registry": "dev", "include": [""]}]}`},
		{"PATCH", "/v1/tenants/acme/registries/prod", `{"upstream_group": "nobody"}`},
	} {
		resp, text := a.send(operatorToken, c[0], c[1], c[2])
		if resp.StatusCode != 400 {
			t.Errorf("%v: %d %s", c, resp.StatusCode, text)
		}
	}
	_, text := a.send(operatorToken, "PATCH", "/v1/tenants/acme/registries/prod", `{"upstream_group": "back"}`)
	if !strings.Contains(string(text), "dev → prod → dev") && !strings.Contains(string(text), "prod → dev → prod") {
		t.Errorf("the cycle is not named: %s", text)
	}
}

func TestWhatIsNamedCannotBeDeleted(t *testing.T) {
	a := withChain(t)
	for _, path := range []string{"upstreams/ghcr", "upstreamGroups/chain", "registries/prod"} {
		got := a.call(400, "DELETE", "/v1/tenants/acme/"+path, "")
		if reason(t, got) != string(fault.InUse) || !strings.HasSuffix(got["message"].(string), " first") {
			t.Errorf("%s: %v", path, got)
		}
	}
	a.call(200, "PATCH", "/v1/tenants/acme/registries/dev", `{"upstream_group": ""}`)
	for _, path := range []string{"upstreamGroups/chain", "upstreams/ghcr", "registries/prod"} {
		a.call(200, "DELETE", "/v1/tenants/acme/"+path, "")
	}
}

const upstreamPassword = "a password that must not be seen again"

func TestPasswordsAreSealedAndNeverAnswered(t *testing.T) {
	log := &strings.Builder{}
	a := withChain(t, func(_ *Config, o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	body := `{"username": "robot", "password": "` + upstreamPassword + `"}`
	seen := []any{
		a.call(200, "PATCH", upstreams+"/ghcr", body), a.call(200, "GET", upstreams+"/ghcr", ""), a.call(200, "GET", upstreams, ""),
		a.call(200, "GET", "/v1/tenants/acme/events", ""), a.call(400, "PATCH", upstreams+"/ghcr", `{"url": "x", "password": "`+upstreamPassword+`"}`),
	}
	u := a.upstream("acme", "ghcr")
	if all := fmt.Sprint(seen, log.String(), string(u.Settings.Password)); strings.Contains(all, upstreamPassword) {
		t.Errorf("the password can be read in %s", all)
	}
	if got := a.call(200, "GET", upstreams+"/ghcr", ""); got["password_set"] != true || got["username"] != "robot" {
		t.Errorf("%v", got)
	}
	if got, err := a.service.secrets.Open(u.Settings.Password, meta.SecretsOf(u).Password); err != nil || got != upstreamPassword {
		t.Errorf("%q, %v", got, err)
	}
	// It stays when others change, and goes when it is cleared.
	a.call(200, "PATCH", upstreams+"/ghcr", `{"max_bytes": 7}`)
	if again := a.upstream("acme", "ghcr"); string(again.Settings.Password) != string(u.Settings.Password) || again.Cache != u.Cache {
		t.Error("a change of something else touched the password, or gave up what was fetched")
	}
	a.call(200, "PATCH", upstreams+"/ghcr?update_mask=password", `{}`)
	if got := a.call(200, "GET", upstreams+"/ghcr", ""); got["password_set"] != false {
		t.Errorf("after it was cleared: %v", got)
	}
}

func TestWithoutAKeyNoPasswordIsTaken(t *testing.T) {
	a := withChain(t, func(c *Config, _ *Options) { c.Secrets = nil })
	m := a.call(400, "PATCH", upstreams+"/ghcr", `{"username": "robot", "password": "secret"}`)
	if !strings.Contains(fmt.Sprint(m), "secret_key_file") {
		t.Errorf("the setting is not named: %v", m)
	}
}

func TestE8_AnotherCredentialGivesUpWhatWasFetched(t *testing.T) {
	a := withChain(t)
	was := a.upstream("acme", "ghcr").Cache
	for _, body := range []string{
		`{"username": "robot", "password": "` + upstreamPassword + `"}`, `{"password": "another"}`, `{"url": "https://other.example", "password": "another"}`,
		`{"auth_hosts": ["login.example"]}`, `{"username": "", "password": ""}`,
	} {
		path := upstreams + "/ghcr"
		if strings.Contains(body, `""`) {
			path += "?update_mask=username,password"
		}
		a.call(200, "PATCH", path, body)
		is := a.upstream("acme", "ghcr").Cache
		if is == was {
			t.Errorf("%s keeps what was fetched", body)
		}
		was = is
	}
	// The same password again is not another one, although it is sealed differently.
	a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "robot", "password": "same"}`)
	was = a.upstream("acme", "ghcr").Cache
	a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "robot", "password": "same"}`)
	if is := a.upstream("acme", "ghcr").Cache; is != was {
		t.Error("the same password gives up what was fetched")
	}
}

func TestPasswordsAreSealedAnewWithANewKey(t *testing.T) {
	a := withChain(t)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "robot", "password": "`+upstreamPassword+`"}`)
	was := a.upstream("acme", "ghcr")
	rotated, err := seal.New([]byte("the next key of the tests"), []byte("the secret key of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := seal.New([]byte("the next key of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	a.service.secrets = rotated
	for _, want := range []int{1, 0} {
		if n, err := a.service.Reseal(t.Context()); n != want || err != nil {
			t.Errorf("%d sealed again, %v; want %d", n, err, want)
		}
	}
	is := a.upstream("acme", "ghcr")
	if got, err := next.Open(is.Settings.Password, meta.SecretsOf(is).Password); err != nil || got != upstreamPassword || is.Cache != was.Cache {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPurge(t *testing.T) {
	a := withChain(t)
	r := a.cache("acme", "ghcr", "team-a/app", "1")
	a.cache("acme", "ghcr", "team-a/other", "1")
	list := func() string {
		return fmt.Sprint(a.call(200, "GET", upstreams+"/ghcr/repositories", "")["repositories"])
	}
	if got := list(); !strings.Contains(got, "upstreams/ghcr/repositories/team-a/app") || !strings.Contains(got, "team-a/other") {
		t.Errorf("cached repositories: %s", got)
	}
	if got := a.call(200, "GET", upstreams+"/ghcr/repositories/team-a/app", ""); got["manifest_count"] != "1" {
		t.Errorf("%v", got)
	}
	a.call(200, "POST", upstreams+"/ghcr:purge", `{"repository": "team-a/app", "reference": "1"}`)
	if _, err := a.store.FindCachedTag(t.Context(), r, "1"); !fault.Is(err, fault.ManifestUnknown) {
		t.Errorf("a purged tag: %v", err)
	}
	a.call(404, "POST", upstreams+"/ghcr:purge", `{"repository": "team-a/app", "reference": "1"}`)
	a.call(400, "POST", upstreams+"/ghcr:purge", `{"reference": "1"}`)
	a.call(400, "POST", upstreams+"/ghcr:purge", `{"repository": "A"}`)
	a.call(200, "POST", upstreams+"/ghcr:purge", `{}`)
	if got := list(); got != "[]" {
		t.Errorf("after all was purged: %s", got)
	}
	a.call(400, "POST", upstreams+"/ghcr:refresh", `{"repository": "app"}`)
	if got := a.call(200, "POST", upstreams+"/ghcr:refresh", `{"repository": "app", "reference": "1"}`); got["member"] != "upstreams/ghcr" || got["outcome"] != "NOT_HERE" {
		t.Errorf("%v", got)
	}
}

func TestResolveTellsWhoWasAsked(t *testing.T) {
	a := withChain(t)
	got := a.call(200, "GET", "/v1/tenants/acme/registries/dev:resolve?reference=app", "")
	if got["reference"] != "latest" || got["outcome"] != "NOT_HERE" || !strings.Contains(fmt.Sprint(got["answers"]), "registries/dev") {
		t.Errorf("%v", got)
	}
	for _, reference := range []string{"", "A:1", "app@sha256:x", "app:-"} {
		if resp, text := a.send(operatorToken, "GET", "/v1/tenants/acme/registries/dev:resolve?reference="+reference, ""); resp.StatusCode/100 != 4 {
			t.Errorf("%q: %d %s", reference, resp.StatusCode, text)
		}
	}
}

const chainSeed = `
tenants:
  - id: acme
    registries:
      - {id: dev, upstream_group: chain}
      - {id: prod}
    upstreams:
      - {id: ghcr, url: "https://ghcr.io", username: robot, password_file: ghcr.password, tag_ttl: 60s}
    upstream_groups:
      - id: chain
        members: [{registry: prod}, {upstream: ghcr, include: ["team/**"]}]
`

// What is turned around in the file is turned around, without a circle in between.
func TestApplyTurnsChainsAround(t *testing.T) {
	a := newAPI(t)
	const file = `
tenants:
  - id: acme
    registries: [{id: dev, upstream_group: %s}, {id: prod, upstream_group: %s}]
    upstream_groups: [{id: chain, members: [{registry: %s}]}]
`
	for _, c := range [][3]string{{"chain", `""`, "prod"}, {`""`, "chain", "dev"}, {"chain", `""`, "prod"}} {
		if err := a.service.Apply(t.Context(), writeSeed(t, fmt.Sprintf(file, c[0], c[1], c[2]), nil)); err != nil {
			t.Fatalf("%v: %v", c, err)
		}
	}
	for slug, want := range map[string]string{"dev": "chain", "prod": ""} {
		if got := a.call(200, "GET", "/v1/tenants/acme/registries/"+slug, "")["upstream_group"]; got != want {
			t.Errorf("%s has group %q, want %q", slug, got, want)
		}
	}
}

func TestApplyChains(t *testing.T) {
	a := newAPI(t)
	file := writeSeed(t, chainSeed, map[string]string{"ghcr.password": upstreamPassword})
	for range 2 {
		if err := a.service.Apply(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	u := a.upstream("acme", "ghcr")
	if got, err := a.service.secrets.Open(u.Settings.Password, meta.SecretsOf(u).Password); err != nil || got != upstreamPassword || u.Settings.TagTTL != time.Minute {
		t.Errorf("%q, %v, %v", got, err, u.Settings.TagTTL)
	}
	if got := a.call(200, "GET", "/v1/tenants/acme/registries/dev", ""); got["upstream_group"] != "chain" {
		t.Errorf("%v", got)
	}
	first := u.Cache
	if err := a.service.Apply(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if a.upstream("acme", "ghcr").Cache != first {
		t.Error("applying the file again gives up what was fetched")
	}
	if err := a.service.Apply(t.Context(), writeSeed(t, strings.Replace(chainSeed, "password_file: ghcr.password", "password: x", 1), nil)); err == nil {
		t.Error("a password in the seed file itself is taken")
	}
}

// TestT1_NotFoundIsASetting of an upstream, and TRUST is kept and shown.
func TestT1_NotFoundIsASetting(t *testing.T) {
	a := withChain(t)
	for _, c := range []struct{ body, want string }{
		{`{"max_bytes": 7}`, "VERIFY"}, {`{"not_found": "TRUST"}`, "TRUST"}, {`{"max_bytes": 8}`, "TRUST"}, {`{"not_found": "VERIFY"}`, "VERIFY"},
	} {
		a.call(200, "PATCH", upstreams+"/ghcr", c.body)
		if got := a.call(200, "GET", upstreams+"/ghcr", ""); got["not_found"] != c.want || a.upstream("acme", "ghcr").Settings.TrustNotFound != (c.want == "TRUST") {
			t.Errorf("after %s: %v", c.body, got)
		}
	}
	a.call(400, "PATCH", upstreams+"/ghcr", `{"not_found": "MAYBE"}`)
}

// TestT2_AnUnusedCredentialIsSaid in the status.
func TestT2_AnUnusedCredentialIsSaid(t *testing.T) {
	a := withChain(t)
	u := a.upstream("acme", "ghcr")
	if err := a.store.RecordStatus(t.Context(), u.Tenant, u.ID, meta.UpstreamStatus{State: "OK", CredentialUnused: true}); err != nil {
		t.Fatal(err)
	}
	if got := a.call(200, "GET", upstreams+"/ghcr", ""); got["status"].(map[string]any)["credential_unused"] != true {
		t.Errorf("%v", got)
	}
}

// TestU38_DelegateIsKeptUntilItIsNamed shows a group from before the field, and what clients
// get that do not name it.
func TestU38_DelegateIsKeptUntilItIsNamed(t *testing.T) {
	a := withChain(t)
	const group = "/v1/tenants/acme/upstreamGroups/chain"
	wants := func(what, want string) {
		t.Helper()
		var got []any
		for _, m := range a.call(200, "GET", group, "")["members"].([]any) {
			got = append(got, m.(map[string]any)["delegate"])
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: delegate is %v, want %s", what, got, want)
		}
	}
	wants("a new member", "[false <nil>]")
	a.call(200, "PATCH", group, `{"members": [{"registry": "prod", "delegate": true}]}`)
	wants("named", "[true]")
	a.call(200, "PATCH", group, `{"members": [{"upstream": "ghcr"}, {"registry": "main"}, {"registry": "prod", "exclude": ["a"]}]}`)
	wants("not named again, beside a new one", "[<nil> false true]")
	a.call(200, "PATCH", group, `{"members": [{"registry": "prod", "delegate": false}]}`)
	wants("taken back", "[false]")
	got := a.call(400, "PATCH", group, `{"members": [{"upstream": "ghcr", "delegate": true}]}`)
	if !strings.Contains(fmt.Sprint(got), "members[0].delegate") {
		t.Errorf("an upstream: %v", got)
	}
	// As a version without the field stored it.
	g, err := a.store.FindGroup(t.Context(), a.upstream("acme", "ghcr").Tenant, "chain")
	if err != nil {
		t.Fatal(err)
	}
	g.Members = []meta.Member{{Registry: "prod"}, {Upstream: "ghcr"}}
	if _, err := a.store.UpdateGroup(t.Context(), meta.Cause{Op: uuid.New(), Actor: "test"}, g); err != nil {
		t.Fatal(err)
	}
	wants("before the upgrade", "[true <nil>]")
	a.call(200, "PATCH", group, `{"members": [{"registry": "prod"}, {"upstream": "ghcr"}]}`)
	wants("a seed file that is applied again", "[true <nil>]")
}
