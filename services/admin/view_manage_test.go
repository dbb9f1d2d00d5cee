package admin

import (
	"slices"
	"strings"
	"testing"
)

// TestU117_AnAdminSeesWhatItManages: with the action ADMIN and without PULL, the admin API
// shows the names of repositories and tags, and no content.
func TestU117_AnAdminSeesWhatItManages(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	for _, r := range []string{"dev", "prod"} {
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+r, "")
	}
	for _, name := range []string{"a/x", "team/a", "team/b", "z/open", "z/secret"} {
		a.push("acme", "dev", name, "v1")
	}
	keeper := a.account("acme", "keeper", "MEMBER")
	a.rule("acme", "keeper", `"registries": ["dev"], "repositories": ["team/**"], "actions": ["ADMIN"]`)
	a.rule("acme", "keeper", `"registries": ["dev"], "repositories": ["z/open"], "actions": ["PULL"]`, "open")

	const dev = "/v1/tenants/acme/registries/dev"
	if got, _ := a.namesOf(keeper, "/v1/tenants/acme/registries?page_size=1", "registries"); !slices.Equal(got, []string{"dev"}) {
		t.Errorf("registries %q", got)
	}
	for query, want := range map[string][]string{
		"order_by=name":                          {"team/a", "team/b", "z/open"},
		"order_by=name+desc":                     {"z/open", "team/b", "team/a"},
		"filter=name:%22e%22":                    {"team/a", "team/b", "z/open"},
		"order_by=name&filter=name=%22team/*%22": {"team/a", "team/b"},
	} {
		if got, _ := a.namesOf(keeper, dev+"/repositories?page_size=1&"+query, "repositories"); !slices.Equal(got, want) {
			t.Errorf("%s: repositories %q, want %q", query, got, want)
		}
	}
	for name, want := range map[string]int{"team/a": 200, "z/open": 200, "z/secret": 404, "team/missing": 404, "a/x": 404} {
		a.callAs(keeper, want, "GET", dev+"/repositories/"+name, "")
		a.callAs(keeper, want, "GET", dev+"/repositories/"+name+":listTags", "")
	}
	a.callAs(keeper, 404, "GET", dev+":resolve?reference=team/a:v1", "")
	a.callAs(keeper, 403, "DELETE", dev+"/repositories/z/open", "")
	a.callAs(keeper, 200, "DELETE", dev+"/repositories/team/a", "")
}

// TestU118_PageTokensTellNoLength: those of a list with hidden names are of one length,
// whatever the name is at which the page ends.
func TestU118_PageTokensTellNoLength(t *testing.T) {
	secret := pageTokens{key: []byte("page key of the tests")}.secret()
	first := secret.seal("repositories", "p", "a")
	for n := 1; n <= 255; n++ {
		name := strings.Repeat("a", n)
		token := secret.seal("repositories", "p", name)
		if len(token) != len(first) || len(token) > longestPageToken || token == first {
			t.Fatalf("a name of %d bytes has a token of %d characters, one of 1 byte of %d", n, len(token), len(first))
		}
		if got, err := secret.open("repositories", "p", token); err != nil || got != name {
			t.Fatalf("%q, %v", got, err)
		}
	}

	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	lengths := map[int]bool{}
	for i, hidden := range []string{"b", "b" + strings.Repeat("x", 200)} {
		registry := []string{"short", "long"}[i]
		a.call(200, "POST", "/v1/tenants/acme/registries?registry_id="+registry, "")
		for _, name := range []string{"a", hidden, "c"} {
			a.push("acme", registry, name, "v1")
		}
	}
	member := a.account("acme", "dev", "MEMBER")
	a.rule("acme", "dev", `"repositories": ["a", "c"], "actions": ["PULL"]`)
	for _, registry := range []string{"short", "long"} {
		_, tokens := a.namesOf(member, "/v1/tenants/acme/registries/"+registry+"/repositories?page_size=1", "repositories")
		for _, token := range tokens {
			lengths[len(token)] = true
		}
	}
	if len(lengths) != 1 {
		t.Errorf("page tokens have the lengths %v", lengths)
	}
}
