package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

const secondName = "library/second"

// rotated is a world whose upstream has two names cached for bob, whose password is then
// another one.
func rotated(t *testing.T) (*world, *testserver.Scripted) {
	t.Helper()
	w := newWorld(t)
	up := testserver.StartScripted(t)
	up.RequireToken("bob", "secret")
	up.Push(secondName, up.Image, testserver.ScriptedTag)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Username, s.Password = "bob", []byte("secret") })
	w.chain(meta.Member{Upstream: "hub"})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.wantPull("", secondName, testserver.ScriptedTag, up.Image)
	await.True(t, time.Minute, "all is stored", func() bool { return w.fetches.Running() == 0 })
	w.rotate("new")
	up.RequireToken("bob", "new")
	up.ExpireTokens()
	up.Forget()
	return w, up
}

// rotate changes the password of the upstream, as the admin service does.
func (w *world) rotate(password string) {
	w.t.Helper()
	u, err := w.Meta.FindUpstream(w.t.Context(), w.dev.Tenant, "hub")
	if err == nil {
		u.Settings.Password = []byte(password)
		_, err = w.Meta.RotateUpstream(w.t.Context(), fronttest.By(), u)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Clear()
}

// fetched is how many manifests, and how many blobs, the upstream was asked for by GET.
func fetched(up *testserver.Scripted) (int, int) {
	var manifests, blobs int
	for _, r := range up.Requests() {
		switch {
		case r.Method != http.MethodGet:
		case strings.Contains(r.Path, "/manifests/"):
			manifests++
		case strings.Contains(r.Path, "/blobs/"):
			blobs++
		}
	}
	return manifests, blobs
}

// outage is an upstream's: that it is left alone for a moment is one too.
var outage = []int{http.StatusBadGateway, http.StatusServiceUnavailable}

// notServed fails the test unless all requests for the name have one of the statuses.
func (w *world) notServed(name string, img ocitest.Image, want ...int) {
	w.t.Helper()
	for _, r := range requestsOf(name, testserver.ScriptedTag, img) {
		for _, a := range []fronttest.Answer{w.get(r.path), w.head(r.path)} {
			if !slices.Contains(want, a.Status) {
				w.t.Errorf("%s: %d, want %v", r.path, a.Status, want)
			}
		}
	}
}

func TestT59_ARotatedPasswordKeepsWhatIsCached(t *testing.T) {
	w, up := rotated(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if manifests, blobs := fetched(up); manifests+blobs != 0 {
		t.Errorf("%d manifests and %d blobs were fetched again", manifests, blobs)
	}
	up.Forget()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if n := up.Connections(); n != 0 {
		t.Errorf("%d requests for what is proved", n)
	}

	up.Script(testserver.Fault503)
	w.notServed(secondName, up.Image, outage...)
	if a := w.get("/v2/" + secondName + "/tags/list"); !slices.Contains(outage, a.Status) {
		t.Errorf("a list of tags: %d", a.Status)
	}
	w.pass(2 * tagTTL)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image) // it may be stale
}

func TestT59_ANameIsProvedByItsManifest(t *testing.T) {
	w, up := rotated(t)
	requests := requestsOf(secondName, testserver.ScriptedTag, up.Image)
	if status, ok := w.fetch(requests[1].path, requests[1].want); !ok { // by digest
		t.Fatal(status)
	}
	w.wantPull("", secondName, testserver.ScriptedTag, up.Image)
	if _, blobs := fetched(up); blobs != 0 {
		t.Errorf("%d blobs were fetched again", blobs)
	}
}

// TestT59_APullContinuesAfterTheRotation has its manifests already: the first request is
// for a blob, also where the registry redirects those.
func TestT59_APullContinuesAfterTheRotation(t *testing.T) {
	for _, redirected := range []bool{false, true} {
		w, up := rotated(t)
		if redirected {
			up.RedirectBlobs(up.CDN.URL())
		}
		for _, r := range requestsOf(secondName, testserver.ScriptedTag, up.Image)[2:] {
			if status, ok := w.fetch(r.path, r.want); !ok {
				t.Fatalf("GET %s: %d", r.path, status)
			}
		}
		w.wantPull("", secondName, testserver.ScriptedTag, up.Image)
		if manifests, blobs := fetched(up); manifests+blobs != 0 {
			t.Errorf("redirected %t: %d manifests and %d blobs were fetched again", redirected, manifests, blobs)
		}
	}
}

// TestT59_OnlyTheNewPasswordProves plays what is no answer to it.
func TestT59_OnlyTheNewPasswordProves(t *testing.T) {
	t.Run("a wrong password", func(t *testing.T) {
		w, up := rotated(t)
		w.rotate("wrong")
		w.notServed(secondName, up.Image, http.StatusForbidden)
		w.rotate("new")
		up.Forget()
		w.wantPull("", secondName, testserver.ScriptedTag, up.Image)
		if _, blobs := fetched(up); blobs != 0 {
			t.Errorf("%d blobs were fetched again after a third password", blobs)
		}
	})
	t.Run("an absence", func(t *testing.T) {
		w, up := rotated(t)
		up.Delete(secondName)
		w.notServed(secondName, up.Image, http.StatusNotFound)
	})
	t.Run("an anonymous answer", func(t *testing.T) {
		w, up := rotated(t)
		up.AllowAnyone()
		w.wantPull("", secondName, testserver.ScriptedTag, up.Image)
		if _, blobs := fetched(up); blobs != len(up.Image.Blobs()) {
			t.Errorf("%d blobs were fetched, want all", blobs)
		}
	})
	t.Run("a page", func(t *testing.T) {
		w, up := rotated(t)
		up.Script(testserver.FaultHTML)
		w.notServed(secondName, up.Image, outage...)
		up.Script(testserver.FaultRefused)
		w.notServed(secondName, up.Image, outage...)
	})
	t.Run("another name", func(t *testing.T) {
		w, up := rotated(t)
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		up.Script(testserver.Fault503)
		w.notServed(secondName, up.Image, outage...)
	})
}

// TestT59_AnotherTenantsProofIsItsOwn: both have the upstream, the account and the name.
func TestT59_AnotherTenantsProofIsItsOwn(t *testing.T) {
	w, up := rotated(t)
	other := w.another("globex")
	other.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Username, s.Password = "bob", []byte("new") })
	other.chain(meta.Member{Upstream: "hub"})
	other.wantPull("", secondName, testserver.ScriptedTag, up.Image)
	await.True(t, time.Minute, "all is stored", func() bool { return w.fetches.Running() == 0 })
	other.rotate("new") // to the same
	other.wantPull("", secondName, testserver.ScriptedTag, up.Image)
	up.Script(testserver.Fault503)
	w.notServed(secondName, up.Image, outage...)
	other.wantPull("", secondName, testserver.ScriptedTag, up.Image)
}
