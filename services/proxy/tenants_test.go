package proxy_test

import (
	"net/http"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestE8_OneTenantsCacheIsNotAnothers has the first with a credential, the second
// without.
func TestE8_OneTenantsCacheIsNotAnothers(t *testing.T) {
	first := newWorld(t)
	second := first.another("globex")
	up := testserver.StartScripted(t)
	up.RequireToken("bob", "secret")
	first.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Username, s.Password = "bob", []byte("secret") })
	second.upstream("hub", up.URL(), nil)
	first.chain(meta.Member{Upstream: "hub"})
	second.chain(meta.Member{Upstream: "hub"})

	first.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.Forget()
	for _, prefix := range []string{"", "proxy/hub/"} {
		for _, r := range requestsOf(prefix+testserver.ScriptedName, testserver.ScriptedTag, up.Image) {
			before := up.Count("", "/v2/*")
			if a := second.get(r.path); a.Status == http.StatusOK || a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("GET %s by a tenant without the credential: %d", r.path, a.Status)
			}
			if up.Count("", "/v2/*") == before {
				t.Errorf("GET %s: the tenant's own upstream was not asked", r.path)
			}
			if a := second.head(r.path); a.Status == http.StatusOK {
				t.Errorf("HEAD %s by a tenant without the credential: %d", r.path, a.Status)
			}
		}
	}
	for _, r := range up.Requests() {
		if _, _, credential := (&http.Request{Header: r.Header}).BasicAuth(); credential {
			t.Errorf("the credential of the first tenant was used: %s %s", r.Method, r.Path)
		}
	}
	up.Forget()
	first.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if n := up.Connections(); n != 0 {
		t.Errorf("%d requests for what the first tenant has", n)
	}
}

// TestE8_ANewCredentialDropsWhatWasFetchedWithTheOld looks for tags and digests.
func TestE8_ANewCredentialDropsWhatWasFetchedWithTheOld(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	up.RequireToken("bob", "secret")
	u := w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Username, s.Password = "bob", []byte("secret") })
	w.chain(meta.Member{Upstream: "hub"})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)

	change := func(username, password string) {
		t.Helper()
		u.Settings.Username, u.Settings.Password = username, []byte(password)
		var err error
		if u, err = w.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, true); err != nil {
			t.Fatal(err)
		}
		w.proxy.Clear()
	}
	change("", "")
	for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image) {
		for _, a := range []fronttest.Answer{w.get(r.path), w.head(r.path)} {
			if a.Status != http.StatusNotFound && a.Status != http.StatusForbidden {
				t.Errorf("%s after the credential was taken away: %d", r.path, a.Status)
			}
		}
	}
	change("bob", "wrong")
	for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image) {
		if a := w.get(r.path); a.Status != http.StatusForbidden {
			t.Errorf("GET %s with a wrong credential: %d", r.path, a.Status)
		}
	}
	change("bob", "secret")
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
}

// TestE8_APullThatBeganBeforeIsNotTakenForAbsent has the proxy not know yet that
// the cache was given up: that must not let others answer.
func TestE8_APullThatBeganBeforeIsNotTakenForAbsent(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	after := lure(t, up)
	u := w.upstream("hub", up.URL(), nil)
	w.upstream("after", after.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "after"})
	if a := w.get("/v2/library/none/manifests/1"); a.Status != http.StatusNotFound { // the chain is known now
		t.Fatal(a.Status)
	}
	after.Forget()
	if _, err := w.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, true); err != nil {
		t.Fatal(err)
	}
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if n := after.Connections(); n != 0 {
		t.Errorf("the next member saw %d requests", n)
	}
}
