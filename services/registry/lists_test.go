package registry_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// next is the path that the answer's Link leads to; empty without one.
func next(t *testing.T, a fronttest.Answer) string {
	t.Helper()
	link := a.Header.Get("Link")
	if link == "" {
		return ""
	}
	target, ok := strings.CutSuffix(link, `>; rel="next"`)
	target, ok2 := strings.CutPrefix(target, "<")
	if !ok || !ok2 {
		t.Fatalf("Link %q", link)
	}
	return target
}

func TestTagsArePagedInByteOrder(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("a/b", "layer")
	tags := []string{"a", "B", "b", "1", "_x", "a.b", "a-b", "Z9"}
	for _, tag := range tags {
		b.pushed("/v2/a/b/manifests/"+tag, image)
	}
	slices.Sort(tags)
	for _, n := range []int{1, 3, 7, 8, 9} {
		var got []string
		pages := 0
		for path := fmt.Sprintf("/v2/a/b/tags/list?n=%d", n); path != ""; pages++ {
			a := b.do("GET", path)
			b.expect(path, a, 200, "")
			var list struct {
				Name string
				Tags []string
			}
			if err := json.Unmarshal([]byte(a.Body), &list); err != nil || list.Name != "a/b" || len(list.Tags) > n {
				t.Fatalf("%s: %v %s", path, err, a.Body)
			}
			got = append(got, list.Tags...)
			path = next(t, a)
		}
		if !slices.Equal(got, tags) || pages != (len(tags)+n-1)/n {
			t.Errorf("n=%d: %v in %d pages", n, got, pages)
		}
	}
	if got := b.do("GET", "/v2/a/b/tags/list?last=a-b"); got.Body != `{"name":"a/b","tags":["a.b","b"]}`+"\n" {
		t.Errorf("after a-b: %s", got.Body)
	}
	if got := b.do("GET", "/v2/a/b/tags/list?last=zz"); got.Body != `{"name":"a/b","tags":[]}`+"\n" {
		t.Errorf("after the end: %s", got.Body)
	}
	b.expect("unknown repository", b.do("GET", "/v2/a/tags/list"), 404, "NAME_UNKNOWN")
}

func TestA8_ListSizesClamp(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	lists := []string{"/v2/app/tags/list", "/v2/_catalog", "/v2/app/referrers/" + digestOf(image)}
	for n, want := range map[string]int{
		"1": 200, "1000": 200, "1001": 200, "1000000000000000000": 200, "99999999999999999999999999": 200, "0": 200, "007": 200,
		"-1": 400, "1e18": 400, "text": 400, "": 400, "1.5": 400, "0x10": 400, "+1": 400, " 1": 400, "1&n=2": 400, "%00": 400, "٣": 400, "1;2": 400, "NaN": 400,
	} {
		for _, list := range lists {
			query := "?n=" + n
			if !strings.ContainsAny(n, "&%") {
				query = "?n=" + url.QueryEscape(n)
			}
			got := b.do("GET", list+query)
			if got.Status != want {
				t.Errorf("%s%s: %d %s", list, query, got.Status, got.Body)
			}
			if n == "0" && (strings.Contains(got.Body, "app\"]") || strings.Contains(got.Body, `"1"`) || got.Header.Get("Link") != "") {
				t.Errorf("%s?n=0 lists %s %v", list, got.Body, got.Header)
			}
		}
	}
	for _, list := range lists {
		b.expect("huge last", b.do("GET", list+"?last="+strings.Repeat("a", 4000)), 400, "UNSUPPORTED")
		b.expect("NUL in last", b.do("GET", list+"?last=a%00"), 400, "UNSUPPORTED")
		b.expect("many parameters", b.do("GET", list+"?"+strings.Repeat("a&", 4000)), 400, "UNSUPPORTED")
	}
	// Asking for much must not cost much.
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.do("GET", "/v2/app/tags/list?n=99999999999999999999")
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("n=10^20 allocated %d bytes", grown)
	}
}

func TestC10_CatalogIsForThoseWhoMayPull(t *testing.T) {
	b := start(t, tenant.Settings{})
	for _, repo := range []string{"b", "a/x", "a"} {
		b.pushed("/v2/"+repo+"/manifests/1", b.image(repo, "layer"))
	}
	b.PutBlob(b.repo("empty"), []byte("x")) // no manifest: not seen
	const all = `{"repositories":["a","a/x","b"]}` + "\n"
	if got := b.do("GET", "/v2/_catalog"); got.Body != all {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	got := b.do("GET", "/v2/_catalog?n=2")
	if got.Body != `{"repositories":["a","a/x"]}`+"\n" || b.do("GET", next(t, got)).Body != `{"repositories":["b"]}`+"\n" {
		t.Errorf("%s %v", got.Body, got.Header)
	}

	private := b.Do(fronttest.Request{Host: b.site.Host, Path: "/v2/_catalog"})
	b.expect("anonymous", private, 401, "UNAUTHORIZED")
	if h := private.Header.Get("WWW-Authenticate"); !strings.HasSuffix(h, `,scope="registry:catalog:*"`) {
		t.Errorf("challenge %q", h)
	}
	reader := b.Account(b.site, "reader", access.Reader)
	for token, want := range map[string]int{
		b.Token(b.site, reader, access.Catalog):                                  200,
		b.Token(b.site, reader, access.Repository("a", access.Pull)):             401,
		b.Token(b.site, access.Principal{}, access.Catalog):                      401,
		b.Token(b.site, access.Principal{Name: "x", Tenant: -1}, access.Catalog): 404,
	} {
		if got := b.Do(fronttest.Request{Host: b.site.Host, Path: "/v2/_catalog", Bearer: token}); got.Status != want {
			t.Errorf("want %d: %d %s", want, got.Status, got.Body)
		}
	}
	public := b.Registry(b.site, "pub", tenant.Settings{AnonymousPull: true})
	if got := b.Do(fronttest.Request{Host: public.Host, Path: "/v2/_catalog"}); got.Body != `{"repositories":[]}`+"\n" {
		t.Errorf("a public registry lists its own: %d %s", got.Status, got.Body)
	}
}

// TestU12_CatalogShowsWhatMayBePulled pages through more repositories than are read at a
// time, few of which the caller may pull from.
func TestU12_CatalogShowsWhatMayBePulled(t *testing.T) {
	b := start(t, tenant.Settings{})
	var want []string
	for i := range 1200 {
		name := fmt.Sprintf("hidden/%04d", i)
		if i%100 == 7 {
			name = fmt.Sprintf("hidden/%04d/shown", i)
			want = append(want, name)
		}
		b.pushed("/v2/"+name+"/manifests/1", index())
	}
	b.pushed("/v2/open/a/manifests/1", index())
	want = append(want, "open/a")
	b.Account(b.site, "ci", access.Member)
	b.Account(b.site, "none", access.Member)
	if _, err := b.Meta.CreateAccessRule(t.Context(), fronttest.By(), meta.AccessRule{Tenant: b.site.Tenant, Rule: access.Rule{
		Slug: "some", Principals: []string{"serviceAccounts/ci"}, Repositories: []string{"open/**", "hidden/*/shown"}, Actions: access.Pull,
	}}); err != nil {
		t.Fatal(err)
	}
	b.Sites.Clear()
	var got []string
	for path := "/v2/_catalog?n=5"; path != ""; {
		a := b.Do(fronttest.Request{Host: b.site.Host, Path: path, Basic: "ci"})
		var page struct{ Repositories []string }
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil || a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		got = append(got, page.Repositories...)
		path = next(t, a)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the catalog shows %v, want %v", got, want)
	}
	if a := b.Do(fronttest.Request{Host: b.site.Host, Path: "/v2/_catalog", Basic: "none"}); a.Status != http.StatusNotFound {
		t.Errorf("an account without any right: %d %s", a.Status, a.Body)
	}
}

// TestU117_ListsShowNothingToManagers: the action ADMIN without PULL shows nothing on the
// data port.
func TestU117_ListsShowNothingToManagers(t *testing.T) {
	b := start(t, tenant.Settings{})
	for _, name := range []string{"team/a", "team/b", "z"} {
		b.pushed("/v2/"+name+"/manifests/1", index())
	}
	b.Account(b.site, "keeper", access.Member)
	rule := func(slug, repositories string, a access.Actions) {
		t.Helper()
		if _, err := b.Meta.CreateAccessRule(t.Context(), fronttest.By(), meta.AccessRule{Tenant: b.site.Tenant, Rule: access.Rule{
			Slug: slug, Principals: []string{"serviceAccounts/keeper"}, Repositories: []string{repositories}, Actions: a,
		}}); err != nil {
			t.Fatal(err)
		}
		b.Sites.Clear()
	}
	get := func(path string) fronttest.Answer {
		return b.Do(fronttest.Request{Host: b.site.Host, Path: path, Basic: "keeper"})
	}
	rule("keeps", "team/**", access.Manage)
	for _, path := range []string{"/v2/_catalog", "/v2/team/a/tags/list", "/v2/team/missing/tags/list", "/v2/z/tags/list"} {
		if a := get(path); a.Status != http.StatusNotFound || strings.Contains(a.Body, "team") {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	rule("pulls", "team/b", access.Pull)
	if a := get("/v2/_catalog?n=1"); a.Body != `{"repositories":["team/b"]}`+"\n" || next(t, a) != "" {
		t.Errorf("the catalog: %d %s, then %s", a.Status, a.Body, next(t, a))
	}
	if a := get("/v2/team/b/tags/list"); a.Status != http.StatusOK {
		t.Errorf("tags: %d %s", a.Status, a.Body)
	}
	if a := get("/v2/team/a/tags/list"); a.Status != http.StatusNotFound {
		t.Errorf("tags of another: %d %s", a.Status, a.Body)
	}
}

func TestReferrers(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	path := "/v2/app/referrers/" + digestOf(image)
	const none = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}` + "\n"
	for what, p := range map[string]string{"unknown repository": path, "unknown subject": "/v2/other/referrers/" + digestOf("x")} {
		if got := b.do("GET", p); got.Status != 200 || got.Body != none || got.Header.Get("Content-Type") != oci.MediaTypeImageIndex {
			t.Errorf("%s: %d %s", what, got.Status, got.Body)
		}
	}
	sbom := referrer(image, "application/spdx+json", map[string]string{"note": "<&>"})
	put := b.put("/v2/app/manifests/"+digestOf(sbom), "", sbom) // before its subject
	b.expect("PUT", put, 201, "")
	if s := put.Header.Get("OCI-Subject"); s != digestOf(image) {
		t.Errorf("OCI-Subject %q", s)
	}
	b.pushed("/v2/app/manifests/1", image)
	sig := referrer(image, "application/signature", nil)
	b.pushed("/v2/app/manifests/"+digestOf(sig), sig)

	got := list(t, b.do("GET", path))
	if len(got) != 2 || !slices.IsSortedFunc(got, func(a, b oci.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) }) {
		t.Errorf("%+v", got)
	}
	a := b.do("GET", path+"?artifactType=application%2Fspdx%2Bjson")
	got = list(t, a)
	if len(got) != 1 || got[0].Digest.String() != digestOf(sbom) || got[0].ArtifactType != "application/spdx+json" ||
		got[0].Annotations["note"] != "<&>" || got[0].Size != int64(len(sbom)) || got[0].MediaType != oci.MediaTypeImageIndex {
		t.Errorf("%+v", got)
	}
	if h := a.Header.Get("OCI-Filters-Applied"); h != "artifactType" {
		t.Errorf("OCI-Filters-Applied %q", h)
	}
	b.expect("last is not a digest", b.do("GET", path+"?last=x"), 400, "DIGEST_INVALID")
	b.expect("two filters", b.do("GET", path+"?artifactType=a&artifactType=b"), 400, "UNSUPPORTED")

	b.expect("the subject goes, its referrers stay", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)), 202, "")
	if got := list(t, b.do("GET", path)); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestQ17_APlusInAnArtifactType(t *testing.T) {
	b := start(t, tenant.Settings{})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	for _, text := range []string{"one", "two"} {
		sbom := referrer(image, "application/spdx+json", map[string]string{"text": text})
		b.pushed("/v2/app/manifests/"+digestOf(sbom), sbom)
	}
	path := "/v2/app/referrers/" + digestOf(image)
	for _, written := range []string{"application/spdx+json", "application%2Fspdx%2Bjson", "application/spdx%2bjson"} {
		a := b.do("GET", path+"?n=1&artifactType="+written)
		if got := list(t, a); len(got) != 1 || a.Header.Get("OCI-Filters-Applied") != "artifactType" {
			t.Errorf("%s: %+v", written, got)
		}
		if got := list(t, b.do("GET", next(t, a))); len(got) != 1 {
			t.Errorf("%s, the page after: %+v", written, got)
		}
	}
	if got := list(t, b.do("GET", path+"?artifactType=application/spdx%20json")); len(got) != 0 {
		t.Errorf("of a type with a space: %+v", got)
	}
}

func TestDeleteReferrersSetting(t *testing.T) {
	b := start(t, tenant.Settings{DeleteReferrers: true})
	image := b.image("app", "layer")
	b.pushed("/v2/app/manifests/1", image)
	sig := referrer(image, "application/signature", nil)
	b.pushed("/v2/app/manifests/"+digestOf(sig), sig)
	b.expect("subject", b.do("DELETE", "/v2/app/manifests/"+digestOf(image)), 202, "")
	b.expect("referrer", b.do("GET", "/v2/app/manifests/"+digestOf(sig)), 404, "MANIFEST_UNKNOWN")
}

func list(t *testing.T, a fronttest.Answer) []oci.Descriptor {
	t.Helper()
	var index struct{ Manifests []oci.Descriptor }
	if err := json.Unmarshal([]byte(a.Body), &index); err != nil || a.Status != 200 {
		t.Fatalf("%d %s %v", a.Status, a.Body, err)
	}
	return index.Manifests
}

func TestD4_PagesOfReferrersAreBounded(t *testing.T) {
	b := start(t, tenant.Settings{AllowMissingReferences: true})
	subject := index()
	path := "/v2/app/referrers/" + digestOf(subject)
	seed := dice.Seed(t)
	r := rand.New(rand.NewPCG(seed, 4))
	var want []string
	for n := range dice.Count(t, 40, 100_000) {
		size := r.IntN(1 << 10)
		if n < 2 { // the two do not fit on one page
			size = oci.MaxManifest/2 + r.IntN(1<<10)
		}
		m := referrer(subject, "application/x", map[string]string{"n": fmt.Sprint(n), "pad": strings.Repeat("<", size)})
		want = append(want, b.pushed("/v2/app/manifests/"+digestOf(m), m))
	}
	slices.Sort(want)
	for _, query := range []string{"", "?artifactType=application%2Fx&n=7"} {
		var got []string
		for p := path + query; p != ""; {
			a := b.do("GET", p)
			if len(a.Body) > 4<<20+200 {
				t.Errorf("seed %d: a page has %d bytes", seed, len(a.Body))
			}
			page := list(t, a)
			if len(page) == 0 {
				t.Fatalf("seed %d: an empty page at %s", seed, p)
			}
			for _, d := range page {
				got = append(got, d.Digest.String())
			}
			p = next(t, a)
		}
		if !slices.Equal(got, want) {
			t.Errorf("seed %d, %s: %d of %d referrers", seed, query, len(got), len(want))
		}
	}
}
