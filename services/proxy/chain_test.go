package proxy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

func TestChain_AnImageFromEachMember(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("ghcr", up.URL(), nil)
	w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "ghcr"})
	inProd := ocitest.NewImage(10, 1000, 5000)
	w.push(w.prod, "team/prod", "1", inProd)

	w.wantPull("", "team/prod", "1", inProd)
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream saw %d requests for an image that prod has: %+v", n, up.Requests())
	}
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, b := range up.Image.Blobs() {
		if n := up.Count("", "/v2/"+testserver.ScriptedName+"/blobs/"+b.Digest.String()); n != 1 {
			t.Errorf("blob %s was asked for %d times, want 1", b.Digest, n)
		}
	}
	if n := up.Count(http.MethodHead, "*"); n != 0 {
		t.Errorf("%d HEAD before GET: a cache in the middle fetches only on GET", n)
	}
	up.Forget()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the second pull made %d requests", n)
	}
	for name, want := range map[string]string{
		"team/prod":             "registries/dev not_here, registries/prod found!",
		testserver.ScriptedName: "registries/dev not_here, registries/prod not_here, upstreams/ghcr found!",
		"library/nobody-has-it": "registries/dev not_here, registries/prod not_here, upstreams/ghcr not_here",
	} {
		if got := story(w.resolve(name, "1")); got != want {
			t.Errorf("%s resolves as\n %s, want\n %s", name, got, want)
		}
	}
	a := w.get("/v2/library/nobody-has-it/manifests/1")
	if a.Status != http.StatusNotFound || a.Code() != "MANIFEST_UNKNOWN" {
		t.Errorf("missing content: %d %s", a.Status, a.Body)
	}
}

func TestChain_ThreeWaysShareOneCache(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("ghcr", up.URL(), func(s *meta.UpstreamSettings) { s.HostAliases = []string{"ghcr.io"} })
	w.chain(meta.Member{Upstream: "ghcr"})
	w.wantPull("proxy/ghcr.io/", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.Forget()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.wantPull("proxy/ghcr/", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag + "?ns=ghcr.io")
	if a.Status != http.StatusOK || a.Header.Get("OCI-Namespace") != "ghcr.io" || a.Body != string(up.Image.Index.Bytes) {
		t.Errorf("?ns=ghcr.io: %d %v", a.Status, a.Header)
	}
	if n := up.Count("", "*"); n != 0 {
		t.Errorf("the upstream was asked %d times for what is kept", n)
	}
	if a := w.get("/v2/x/manifests/1?ns=unknown.example"); a.Status != http.StatusNotFound {
		t.Errorf("an unknown namespace: %d %s", a.Status, a.Body)
	}
}

// TestChain_RegistriesHaveChainsOfTheirOwn has dev ask prod, and prod ask the
// upstream.
func TestChain_RegistriesHaveChainsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("ghcr", up.URL(), nil)
	w.Group(w.dev, "outside", meta.Member{Upstream: "ghcr"})
	prod, err := w.Meta.FindRegistry(t.Context(), w.dev.Tenant, "prod")
	if err != nil {
		t.Fatal(err)
	}
	prod.Settings.UpstreamGroup = "outside"
	if _, err := w.Meta.UpdateRegistry(t.Context(), fronttest.By(), prod); err != nil {
		t.Fatal(err)
	}
	w.chain(meta.Member{Registry: "prod"})
	inProd := ocitest.NewImage(16, 1000)
	w.push(w.prod, "team/prod", "1", inProd)
	w.wantPull("", "team/prod", "1", inProd)
	if n := up.Connections(); n != 0 {
		t.Errorf("%d requests for what prod has", n)
	}
	for range 2 {
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	}
	if n, want := up.Count("", "*"), len(requestsOf("", "", up.Image)); n != want {
		t.Errorf("%d requests for an image that is pulled twice, want %d", n, want)
	}
	if got := w.tags("/v2/"+testserver.ScriptedName+"/tags/list", 10); len(got) != 2 {
		t.Errorf("tags %v", got)
	}
	for name, want := range map[string]string{
		testserver.ScriptedName: "registries/dev not_here, registries/prod not_here, upstreams/ghcr found!",
		"team/prod":             "registries/dev not_here, registries/prod found!",
		"team/none":             "registries/dev not_here, registries/prod not_here, upstreams/ghcr not_here",
	} {
		if got := story(w.resolve(name, "1")); got != want {
			t.Errorf("%s resolves as\n %s, want\n %s", name, got, want)
		}
	}
	up.Script(testserver.Fault500)
	if a := w.get("/v2/team/other/manifests/1"); a.Status != http.StatusBadGateway {
		t.Errorf("with the last member out: %d", a.Status)
	}
	// What prod claims is not asked for on behalf of dev either.
	if a := w.get("/v2/team/prod/manifests/2"); a.Status != http.StatusNotFound {
		t.Errorf("a tag that prod does not have: %d", a.Status)
	}
}

func TestE9_ClaimedNamesAreNeverAskedUpstream(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Registry: "prod"}) // even where it would be asked first
	private := ocitest.NewImage(11, 1000)
	attack := ocitest.NewImage(12, 1000)
	up.Push("acme/app", attack, "1")
	for _, site := range []string{"dev", "prod"} {
		to := w.dev
		if site == "prod" {
			to = w.prod
		}
		w.push(to, "acme/app", "1", private)
		if err := w.Meta.DeleteRepository(t.Context(), fronttest.By(), fronttest.Repo(to, "acme/app")); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		"/v2/acme/app/manifests/1", "/v2/acme/app/manifests/" + attack.Index.Digest.String(),
		"/v2/acme/app/blobs/" + attack.Config.Digest.String(), "/v2/acme/app/tags/list",
	} {
		if a := w.get(path); a.Status != http.StatusNotFound {
			t.Errorf("GET %s: %d %s", path, a.Status, a.Body)
		}
	}
	if a := w.get("/v2/acme/app/referrers/" + attack.Index.Digest.String()); a.Status != http.StatusOK || len(up.Requests()) > 0 {
		t.Errorf("referrers: %d %s", a.Status, a.Body)
	}
	if n := up.Count("", "*"); n != 0 {
		t.Fatalf("the upstream saw %d requests for a name that is the tenant's own: %+v", n, up.Requests())
	}
	if got, want := story(w.resolve("acme/app", "1")), "registries/dev not_here, upstreams/hub skipped, registries/prod not_here"; got != want {
		t.Errorf("it resolves as %s", got)
	}
}

func TestE9_AllowClaimed(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.AllowClaimed = []string{"library/*"} })
	w.chain(meta.Member{Upstream: "hub"})
	w.push(w.dev, testserver.ScriptedName, "mine", ocitest.NewImage(13, 1000))
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
}

func TestChain_PatternsSayWhoIsAsked(t *testing.T) {
	w := newWorld(t)
	up, other := testserver.StartScripted(t), testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Exclude = []string{"library/secret"} })
	w.upstream("other", other.URL(), func(s *meta.UpstreamSettings) { s.NamePrefix = "mirror/" })
	w.chain(meta.Member{Upstream: "hub", Include: []string{"library/**"}}, meta.Member{Upstream: "other", Exclude: []string{"library/**"}})
	img := ocitest.NewImage(14, 1000)
	other.Push("mirror/team/app", img, "1")
	up.Push("team/app", ocitest.NewImage(15, 1000), "1")
	up.Push("library/secret", img, "1")
	w.wantPull("", "team/app", "1", img)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if a := w.get("/v2/library/secret/manifests/1"); a.Status != http.StatusNotFound {
		t.Errorf("an excluded name: %d", a.Status)
	}
	if a := w.get("/v2/proxy/hub/library/secret/manifests/1"); a.Status != http.StatusNotFound {
		t.Errorf("an excluded name by its path: %d", a.Status)
	}
	if up.Count("", "/v2/team/app/*") > 0 || up.Count("", "/v2/library/secret/*") > 0 {
		t.Errorf("hub was asked for what it is not to be: %+v", up.Requests())
	}
}

func TestR37_WithTheUpstreamStoppedWhatIsKeptIsAnswered(t *testing.T) {
	w, up := newHub(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.Script(testserver.FaultRefused)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)

	w.pass(time.Hour) // past tag_ttl
	w.proxy.Clear()
	a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag)
	if a.Status != http.StatusOK || a.Header.Get("Warning") != `110 - "Response is Stale"` || a.Header.Get("Age") != "3600" {
		t.Errorf("a stale tag: %d, Warning %q, Age %q", a.Status, a.Header.Get("Warning"), a.Header.Get("Age"))
	}
	w.pass(24 * time.Hour) // past stale_if_error
	if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag); a.Status < 500 {
		t.Errorf("a tag that is too old: %d", a.Status)
	}
	if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + up.Image.Index.Digest.String()); a.Status != http.StatusOK || a.Header.Get("Warning") != "" {
		t.Errorf("by digest: %d %v", a.Status, a.Header)
	}
	if a := w.get("/v2/library/never-asked-for/manifests/1"); a.Status != http.StatusBadGateway && a.Status != http.StatusServiceUnavailable {
		t.Errorf("what is not kept: %d %s", a.Status, a.Body)
	}
	up.Script(testserver.FaultNone)
}

// TestR37_AnUpstreamThatStallsSlowsNobodyDownForLong has it take the request, and
// say nothing.
func TestR37_AnUpstreamThatStallsSlowsNobodyDownForLong(t *testing.T) {
	t.Parallel()
	w, up := newHub(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.pass(tagTTL)
	up.Forget()
	up.Script(testserver.FaultStallBefore)
	begin := time.Now()
	a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag)
	if a.Status != http.StatusOK || a.Header.Get("Warning") == "" || a.Body != string(up.Image.Index.Bytes) {
		t.Errorf("%d, Warning %q", a.Status, a.Header.Get("Warning"))
	}
	if took := time.Since(begin); took > 15*time.Second { // the upstream has 30
		t.Errorf("what is kept came after %v", took)
	}
	if n := up.Count("", "*"); n != 1 {
		t.Errorf("%d requests", n)
	}
}
