package admin

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
)

// indexed indexes all that is due, with what manifests say, if that is described.
func (a *api) indexed(describe ...meta.Describe) {
	a.t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = a.store.IndexSearch(a.t.Context(), 100, append(describe, nil)[0]); err != nil {
			a.t.Fatal(err)
		}
	}
}

// searchAs follows the pages of a search, and returns results as registry/repository:tag.
func (a *api) searchAs(token, query string, size int, more ...string) []string {
	a.t.Helper()
	found := []string{}
	path := "/v1/tenants/acme:search?query=" + url.QueryEscape(query) + fmt.Sprintf("&page_size=%d", size) + strings.Join(more, "")
	for next := ""; ; {
		m := a.callAs(token, 200, "GET", path+"&page_token="+next, "")
		rows := m["results"].([]any)
		for _, one := range rows {
			r := one.(map[string]any)
			name := strings.Replace(strings.TrimPrefix(r["repository"].(string), "tenants/acme/registries/"), "/repositories/", "/", 1)
			if tag := r["tag"].(string); tag != "" {
				name += ":" + tag
			}
			if r["type"] == "DIGEST" {
				name += "@" + r["digest"].(string)
			}
			found = append(found, name)
		}
		if next = m["next_page_token"].(string); next == "" {
			return found
		}
	}
}

func TestW217_SearchByTheAPI(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.call(200, "POST", "/v1/tenants/acme/registries?registry_id=dev", "")
	a.push("acme", "dev", "team/api", "v1", "stable")
	a.push("acme", "main", "api", "stable-2")
	if m := a.call(200, "GET", "/v1/searchIndex", ""); m["state"] != "BUILDING" {
		t.Errorf("%v", m)
	}
	a.indexed()
	if m := a.call(200, "GET", "/v1/searchIndex", ""); m["state"] != "COMPLETE" {
		t.Errorf("%v", m)
	}
	for _, size := range []int{1, 2, 1000} {
		if got := a.searchAs(operatorToken, "API", size); !slices.Equal(got, []string{"main/api", "dev/team/api"}) {
			t.Errorf("%q", got)
		}
		if got := a.searchAs(operatorToken, "stable", size, "&types=TAG"); !slices.Equal(got, []string{"dev/team/api:stable", "main/api:stable-2"}) {
			t.Errorf("%q", got)
		}
	}
	if got := a.searchAs(operatorToken, "stable", 10, "&types=REPOSITORY"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := a.searchAs(operatorToken, "sha256:", 10); len(got) != 2 || !strings.Contains(got[0], "@sha256:") {
		t.Errorf("%q", got)
	}
	for _, query := range []string{"", "?query=", "?query=" + strings.Repeat("x", 257), "?query=a&page_size=-1", "?query=a&page_token=x", "?query=a&types=NONE", "?query=a&types=TYPE_UNSPECIFIED", "?query=a&types=77"} {
		a.call(400, "GET", "/v1/tenants/acme:search"+query, "")
	}
	for _, query := range []string{"%", "_", "'", `"`, "*", "a' OR '1'='1", "\x00", "ü", "日本", strings.Repeat("x", 256), "(", "^", "NEAR"} {
		if got := a.searchAs(operatorToken, query, 10); len(got) != 0 {
			t.Errorf("%q finds %q", query, got)
		}
	}
	m := a.call(200, "GET", "/v1/tenants/acme:search?query=stable&page_size=1", "")
	token := m["next_page_token"].(string)
	for _, other := range []string{"?query=api", "?query=stable&types=TAG"} {
		a.call(400, "GET", "/v1/tenants/acme:search"+other+"&page_token="+token, "")
	}
	if m := a.call(200, "POST", "/v1/searchIndex:rebuild", ""); m["state"] != "BUILDING" {
		t.Errorf("%v", m)
	}
	if got := a.searchAs(operatorToken, "api", 10); len(got) != 2 {
		t.Errorf("while it is rebuilt: %q", got)
	}
}

// TestW218_SearchShowsWhatTheCallerSees: whatever rules there are, a search finds what is
// listed for the caller, and nothing else; a page has bounded work.
func TestW218_SearchShowsWhatTheCallerSees(t *testing.T) {
	a := newAPI(t)
	registries, names := []string{"main", "dev"}, []string{"a", "ab/abc", "b/abc", "abc", "c/ab"}
	for _, id := range []string{"acme", "umbrella"} {
		a.call(200, "POST", "/v1/tenants?tenant_id="+id, "")
		a.call(200, "POST", "/v1/tenants/"+id+"/registries?registry_id=dev", "")
		for _, registry := range registries {
			for _, name := range names {
				a.push(id, registry, name, "abc", "b-"+id)
			}
		}
	}
	a.indexed()
	member := a.account("acme", "mm", "MEMBER")
	stranger := a.account("umbrella", "mm", "READER")
	a.callAs(stranger, 403, "GET", "/v1/tenants/acme:search?query=abc", "")
	patterns := []string{"**", "a", "ab/*", "*/abc", "abc", "c/**", "none"}
	dice.Check(t, func(d *dice.T) {
		a.call(200, "DELETE", "/v1/tenants/acme/accessRules/allow?allow_missing=true", "")
		a.call(200, "DELETE", "/v1/tenants/acme/accessRules/deny?allow_missing=true", "")
		for _, effect := range []string{"ALLOW", "DENY"} {
			if rapid.Bool().Draw(d.T, effect) {
				a.call(200, "POST", "/v1/tenants/acme/accessRules?access_rule_id="+strings.ToLower(effect),
					fmt.Sprintf(`{"effect": %q, "principals": ["serviceAccounts/mm"], "registries": [%q], "repositories": [%q], "actions": [%q]}`, effect,
						rapid.SampledFrom(append(registries, "*")).Draw(d.T, "registry"), rapid.SampledFrom(patterns).Draw(d.T, "pattern"),
						rapid.SampledFrom([]string{"PULL", "ADMIN", "PUSH"}).Draw(d.T, "action")))
			}
		}
		seen := map[string]bool{}
		for _, registry := range registries {
			resp, _ := a.send(member, "GET", "/v1/tenants/acme/registries/"+registry, "")
			if resp.StatusCode == 404 {
				continue
			}
			for _, r := range a.callAs(member, 200, "GET", "/v1/tenants/acme/registries/"+registry+"/repositories", "")["repositories"].([]any) {
				_, name, _ := strings.Cut(r.(map[string]any)["name"].(string), "/repositories/")
				seen[registry+"/"+name] = true
			}
		}
		query, size := rapid.SampledFrom([]string{"abc", "a", "b", "ab", "b-", "umb", "acme", "/ab"}).Draw(d.T, "query"), rapid.IntRange(1, 5).Draw(d.T, "size")
		var want []string
		for _, one := range a.searchAs(operatorToken, query, 1000) {
			if repository, _, _ := strings.Cut(strings.Split(one, "@")[0], ":"); seen[repository] {
				want = append(want, one)
			}
		}
		if got := a.searchAs(member, query, size); !slices.Equal(got, append([]string{}, want...)) {
			d.Errorf("%q finds %q, want %q", query, got, want)
		}
	})
}

// Who administers a repository without the right to pull sees its names, and not what its
// manifests say.
func TestW218_WhatManifestsSayIsForThoseWhoPull(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	a.push("acme", "main", "app", "secret-tag")
	a.indexed(func(context.Context, meta.Repo, meta.Manifest) ([]meta.SearchText, error) {
		return []meta.SearchText{{Kind: meta.SearchAnnotation, Text: "contact=secret-team"}, {Kind: meta.SearchLabel, Text: "contact=secret-team"}}, nil
	})
	for slug, action := range map[string]string{"manager": "ADMIN", "puller": "PULL"} {
		member := a.account("acme", slug, "MEMBER")
		a.rule("acme", slug, `"repositories": ["app"], "actions": ["`+action+`"]`)
		if got := a.searchAs(member, "secret-tag", 10); !slices.Equal(got, []string{"main/app:secret-tag"}) {
			t.Errorf("%s finds %q", slug, got)
		}
		want := map[string]int{"ADMIN": 0, "PULL": 2}[action]
		if got := a.searchAs(member, "contact", 10); len(got) != want {
			t.Errorf("%s finds %q", slug, got)
		}
	}
}

func TestW218_APageWhereEverythingIsHiddenIsBounded(t *testing.T) {
	a := newAPI(t)
	a.call(200, "POST", "/v1/tenants?tenant_id=acme", "")
	member := a.account("acme", "mm", "MEMBER")
	tags := make([]string, 450)
	for r := range 7 {
		for i := range tags {
			tags[i] = fmt.Sprintf("hidden-%d-%d", r, i)
		}
		a.push("acme", "main", "secret", tags...)
	}
	a.push("acme", "main", "shown", "hidden-too")
	a.rule("acme", "mm", `"repositories": ["shown"], "actions": ["PULL"]`)
	a.indexed()
	m := a.callAs(member, 200, "GET", "/v1/tenants/acme:search?query=hidden", "")
	if rows := m["results"].([]any); len(rows) != 0 || m["next_page_token"] == "" {
		t.Errorf("%v", m)
	}
	if got := a.searchAs(member, "hidden", 10); !slices.Equal(got, []string{"main/shown:hidden-too"}) {
		t.Errorf("%q", got)
	}
}
