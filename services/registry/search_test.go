package registry_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// searched are the repositories in an answer to docker search.
func searched(t *testing.T, a fronttest.Answer) []string {
	t.Helper()
	var got struct {
		Query      string
		NumResults int `json:"num_results"`
		Results    []struct {
			Name        string
			Description *string
			IsOfficial  *bool `json:"is_official"`
			IsAutomated *bool `json:"is_automated"`
			StarCount   *int  `json:"star_count"`
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &got); a.Status != 200 || err != nil || got.NumResults != len(got.Results) {
		t.Fatalf("%d, %v: %s", a.Status, err, a.Body)
	}
	names := []string{}
	for _, r := range got.Results {
		if r.Description == nil || r.IsOfficial == nil || r.IsAutomated == nil || r.StarCount == nil {
			t.Errorf("%+v", r)
		}
		names = append(names, r.Name)
	}
	return names
}

// TestW220_DockerSearch: repositories of the registry that the caller may pull from, and
// nothing of other registries.
func TestW220_DockerSearch(t *testing.T) {
	b := start(t, tenant.Settings{})
	other := b.Registry(b.site, "other", tenant.Settings{})
	for _, name := range []string{"nginx", "library/nginx-slim", "team/nginx", "nginx-2", "app"} {
		b.pushed("/v2/"+name+"/manifests/v1", b.image(name, "layer"))
	}
	there := fronttest.Repo(other, "nginx-other")
	b.PutBlob(there, []byte("{}"))
	b.PutManifest(there, []byte(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}`), "v1")
	for n := 1; n > 0; {
		var err error
		if n, err = b.Meta.IndexSearch(t.Context(), 100, nil); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{"nginx", "nginx-2", "library/nginx-slim", "team/nginx"}
	if got := searched(t, b.do("GET", "/v1/search?q=NGINX&n=25")); !slices.Equal(got, all) {
		t.Errorf("%q", got)
	}
	if got := searched(t, b.do("GET", "/v1/search?q=nginx&n=2")); !slices.Equal(got, all[:2]) {
		t.Errorf("%q", got)
	}
	for _, q := range []string{"", "%", "'", `"`, "nginx/", "\x00", "ü", "zz"} {
		if got := searched(t, b.do("GET", "/v1/search?q="+url.QueryEscape(q))); len(got) != 0 {
			t.Errorf("%q finds %q", q, got)
		}
	}
	for _, query := range []string{"q=a&n=0", "q=a&n=101", "q=a&n=x", "q=" + strings.Repeat("x", 257)} {
		b.expect(query, b.do("GET", "/v1/search?"+query), 400, "UNSUPPORTED")
	}
	anonymous := b.Do(fronttest.Request{Host: b.site.Host, Path: "/v1/search?q=nginx"})
	b.expect("without a credential", anonymous, 401, "UNAUTHORIZED")

	b.Account(b.site, "member", access.Member)
	if _, err := b.Meta.CreateAccessRule(t.Context(), fronttest.By(), meta.AccessRule{Tenant: b.site.Tenant, Rule: access.Rule{
		Slug: "team", Principals: []string{"authenticated"}, Repositories: []string{"team/*"}, Actions: access.Pull,
	}}); err != nil {
		t.Fatal(err)
	}
	b.Sites.Clear()
	if got := searched(t, b.Do(fronttest.Request{Host: b.site.Host, Path: "/v1/search?q=nginx", Basic: "member"})); !slices.Equal(got, []string{"team/nginx"}) {
		t.Errorf("a member finds %q", got)
	}

	reader := b.Account(b.site, "reader", access.Reader)
	for token, want := range map[string]int{
		b.Token(b.site, reader, access.ParseScopes([]string{"registry:catalog:search"})...): 200, // as Docker asks for
		b.Token(b.site, reader, access.Repository("team/nginx", access.Pull)):               401,
	} {
		if a := b.Do(fronttest.Request{Host: b.site.Host, Path: "/v1/search?q=nginx", Bearer: token}); a.Status != want {
			t.Errorf("%d %s, want %d", a.Status, a.Body, want)
		}
	}
}
