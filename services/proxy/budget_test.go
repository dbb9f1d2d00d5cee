package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestT61_HeadBeforeGet: where manifests are limited and a HEAD is free, a tag of a
// cached manifest costs nothing, whether the tag is new or has moved to it.
func TestT61_HeadBeforeGet(t *testing.T) {
	w, up := newHub(t)
	up.Limit(100, 100)
	name := testserver.ScriptedName
	other := ocitest.NewImage(7, 1000)
	up.Push(name, other, "other")
	w.wantPull("", name, testserver.ScriptedTag, up.Image)
	w.wantPull("", name, "other", other)
	w.pass(tagTTL)
	w.wantPull("", name, testserver.ScriptedTag, up.Image) // by HEAD, which shows that it is free
	up.Forget()

	up.Push(name, up.Image, "latest")
	w.wantPull("", name, "latest", up.Image)
	up.Push(name, other, testserver.ScriptedTag)
	w.pass(tagTTL)
	w.wantPull("", name, testserver.ScriptedTag, other)
	if gets, heads := up.Count(http.MethodGet, "*"), up.Count(http.MethodHead, "*"); gets != 0 || heads != 2 {
		t.Errorf("%d GET and %d HEAD, want 0 and 2", gets, heads)
	}
	up.Push(name, ocitest.NewImage(8, 1000), "latest")
	w.pass(tagTTL)
	if a := w.get("/v2/" + name + "/manifests/latest"); a.Status != http.StatusOK || up.Count(http.MethodGet, "*") != 1 {
		t.Errorf("%d after %d GET", a.Status, up.Count(http.MethodGet, "*"))
	}
	if a := w.get("/v2/" + name + "/manifests/none"); a.Status != http.StatusNotFound {
		t.Errorf("a missing tag: %d", a.Status)
	}
}

// TestT61_TagsLiveLonger: while little is left, a tag is served past its life, and says
// so, as far as stale_if_error allows.
func TestT61_TagsLiveLonger(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	up.Limit(100, 11) // 10 after the first pull: three times as long
	w.upstream("hub", up.URL(), nil)
	w.upstream("strict", up.URL(), func(s *meta.UpstreamSettings) { s.StaleIfError = 0 })
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "strict"})
	path := "/v2/proxy/hub/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag
	if a := w.get(path); a.Status != http.StatusOK || a.Header.Get("Warning") != "" {
		t.Fatalf("%d %v", a.Status, a.Header)
	}
	up.Forget()
	w.pass(tagTTL + time.Second)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		a := w.get(path)
		if method == http.MethodHead {
			a = w.head(path)
		}
		if a.Status != http.StatusOK || a.Header.Get("Warning") == "" || a.Header.Get("Age") == "" {
			t.Errorf("%s: %d %v", method, a.Status, a.Header)
		}
	}
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("%d requests while little is left", n)
	}
	w.pass(2 * tagTTL)
	if a := w.get(path); a.Status != http.StatusOK || a.Header.Get("Warning") != "" || up.Count(http.MethodHead, "*") != 1 {
		t.Errorf("afterwards: %d %v, %d HEAD", a.Status, a.Header, up.Count(http.MethodHead, "*"))
	}

	strict := "/v2/proxy/strict/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag
	w.get(strict)
	up.Forget()
	w.pass(tagTTL + time.Second)
	if a := w.get(strict); a.Status != http.StatusOK || a.Header.Get("Warning") != "" || up.Count(http.MethodHead, "*") != 1 {
		t.Errorf("with stale_if_error 0: %d %v, %d HEAD", a.Status, a.Header, up.Count(http.MethodHead, "*"))
	}
	// Nothing is left: what is known is served, what is not is 429.
	up.Limit(100, 0)
	w.get("/v2/proxy/hub/" + testserver.ScriptedName + "/manifests/none")
	w.pass(tagTTL + time.Second)
	if a := w.get(path); a.Status != http.StatusOK || a.Header.Get("Warning") == "" {
		t.Errorf("with nothing left: %d %v", a.Status, a.Header)
	}
	if a := w.get("/v2/proxy/hub/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedSingleTag); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("what is not cached: %d %v", a.Status, a.Header)
	}
}

// TestT74_ListsLiveLonger: while little is left, lists of tags and referrers are served past
// their life, each page of them, and say so, as far as stale_if_error allows.
func TestT74_ListsLiveLonger(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	up.Push(testserver.ScriptedName, up.Image, "a", "b", "c")
	up.Limit(100, 11) // 10 after the first pull: three times as long
	w.upstream("hub", up.URL(), nil)
	w.upstream("strict", up.URL(), func(s *meta.UpstreamSettings) { s.StaleIfError = 0 })
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "strict"})
	paths := func(upstream string) []string {
		at := "/v2/proxy/" + upstream + "/" + testserver.ScriptedName
		return []string{at + "/tags/list?n=2", at + "/tags/list?n=2&last=b", at + "/tags/list", at + "/referrers/" + up.Image.Manifest.Digest.String()}
	}
	read := func(upstream string, stale bool) {
		t.Helper()
		for _, path := range paths(upstream) {
			a := w.get(path)
			if a.Status != http.StatusOK || (a.Header.Get("Warning") != "") != stale {
				t.Errorf("%s: %d %v, want stale: %t", path, a.Status, a.Header, stale)
			}
		}
	}
	for _, upstream := range []string{"hub", "strict"} {
		read(upstream, false)
	}
	if a := w.get("/v2/proxy/hub/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag); a.Status != http.StatusOK {
		t.Fatal(a.Status)
	}
	up.Forget()
	w.pass(tagTTL + time.Second)
	read("hub", true)
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("%d requests while little is left", n)
	}
	read("strict", false)
	if n := up.Count("", "*"); n == 0 {
		t.Error("with stale_if_error 0, stale lists are served")
	}
	w.pass(2 * tagTTL)
	read("hub", false)
}

// TestT61_TenantsBehindOneAddress: a tenant that pulls a thousand images leaves another
// one its share.
func TestT61_TenantsBehindOneAddress(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	up.Limit(40, 40)
	names := make([]string, 60)
	for i := range names {
		names[i] = fmt.Sprintf("library/app-%d", i)
		up.PushManifest(names[i], up.Image.Manifest, "1")
	}
	other := w.another("other")
	for _, one := range []*world{w, other} {
		one.upstream("hub", up.URL(), nil)
		one.chain(meta.Member{Upstream: "hub"})
	}
	pulls := func(one *world, names []string) int {
		n := 0
		for _, name := range names {
			switch a := one.get("/v2/" + name + "/manifests/1"); a.Status {
			case http.StatusOK:
				n++
			case http.StatusTooManyRequests:
			default:
				t.Fatalf("%s: %d %s", name, a.Status, a.Body)
			}
		}
		return n
	}
	if n := pulls(other, names[:1]); n != 1 {
		t.Fatal("the other tenant had nothing")
	}
	if n := pulls(w, names); n != 30 {
		t.Errorf("one tenant had %d of 39", n)
	}
	if n := pulls(other, names[1:]); n != 9 {
		t.Errorf("the other had %d of its 9", n)
	}
}
