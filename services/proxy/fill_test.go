package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestU15_WithoutFillTheCacheAnswersAlone takes the right to fill from anonymous callers.
func TestU15_WithoutFillTheCacheAnswersAlone(t *testing.T) {
	w, up := newHub(t)
	w.Account(w.dev, "reader", access.Reader)
	if _, err := w.Meta.CreateAccessRule(t.Context(), fronttest.By(), meta.AccessRule{Tenant: w.dev.Tenant, Rule: access.Rule{
		Slug: "no-fill", Deny: true, Principals: []string{access.AnonymousPrincipal}, Repositories: []string{"**"}, Actions: access.Fill,
	}}); err != nil {
		t.Fatal(err)
	}
	w.dev = w.Site(w.dev.Host)
	base := "/v2/" + testserver.ScriptedName
	manifest, layer := base+"/manifests/"+testserver.ScriptedTag, base+"/blobs/"+up.Image.Layers[0].Digest.String()
	unasked := func(what string, ask func()) {
		t.Helper()
		before := len(up.Requests())
		ask()
		if after := len(up.Requests()); after != before {
			t.Errorf("%s: the upstream was asked: %v", what, up.Requests()[before:])
		}
	}
	want := func(path string, status int) fronttest.Answer {
		t.Helper()
		a := w.get(path)
		if a.Status != status {
			t.Errorf("%s: %d %s, want %d", path, a.Status, a.Body, status)
		}
		return a
	}
	byReader := func(path string) {
		t.Helper()
		if a := w.Do(fronttest.Request{Host: w.dev.Host, Path: path, Basic: "reader"}); a.Status != http.StatusOK {
			t.Fatalf("the reader: %d %s", a.Status, a.Body)
		}
	}
	unasked("nothing is cached", func() {
		for _, path := range []string{manifest, base + "/manifests/" + up.Image.Index.Digest.String(), layer} {
			if a := want(path, http.StatusNotFound); !strings.Contains(a.Body, "NOT_FILLED") {
				t.Errorf("%s: no reason in %s", path, a.Body)
			}
		}
		want(base+"/tags/list", http.StatusNotFound)
		if a := want(base+"/referrers/"+up.Image.Index.Digest.String(), http.StatusOK); !strings.Contains(a.Body, `"manifests":[]`) {
			t.Errorf("referrers %s", a.Body)
		}
	})
	byReader(manifest)
	unasked("the tag is cached", func() {
		want(manifest, http.StatusOK)
		want(layer, http.StatusNotFound)
		if a := w.head(layer); a.Status != http.StatusNotFound {
			t.Errorf("HEAD of a blob that is not cached: %d", a.Status)
		}
		if a := want(base+"/tags/list", http.StatusOK); !strings.Contains(a.Body, testserver.ScriptedTag) {
			t.Errorf("tags %s", a.Body)
		}
	})
	w.pass(tagTTL + 48*time.Hour)
	unasked("the tag is old", func() {
		if a := want(manifest, http.StatusOK); a.Header.Get("Warning") == "" {
			t.Errorf("an old tag without a Warning: %v", a.Header)
		}
	})
	byReader(layer)
	await.True(t, 10*time.Second, "the blob is stored", func() bool { return w.get(layer).Status == http.StatusOK })
	unasked("the blob is cached", func() { want(layer, http.StatusOK) })
}
