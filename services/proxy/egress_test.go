package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/upstream"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestT30_PullsThroughARealProxy, which wants a password: with tokens of another host,
// and blobs of a third.
func TestT30_PullsThroughARealProxy(t *testing.T) {
	p := testserver.StartTinyproxy(t, "berth", "a-password")
	w := newWorldBy(t, upstream.Options{Proxies: []upstream.Proxy{{Name: "corp", URL: p.URL()}, {Name: "wrong", URL: strings.Replace(p.URL(), "a-password", "another", 1)}}})
	up := testserver.StartScripted(t)
	up.RequireToken("bob", "secret")
	up.RedirectBlobs(up.CDN.URL())
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) {
		s.Proxy, s.Username, s.Password = "corp", "bob", []byte("secret")
		s.AuthHosts = []string{strings.TrimPrefix(up.CDN.URL(), "http://")}
	})
	w.upstream("wrong", up.URL(), func(s *meta.UpstreamSettings) { s.Proxy = "wrong" })
	w.upstream("gone", up.URL(), func(s *meta.UpstreamSettings) { s.Proxy = "gone" })
	w.chain(meta.Member{Upstream: "hub"})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	reached := map[string]bool{}
	for _, target := range p.Targets() {
		reached[target] = true
	}
	for _, want := range []string{strings.TrimPrefix(up.URL(), "http://"), strings.TrimPrefix(up.CDN.URL(), "http://")} {
		if !reached[want] {
			t.Errorf("%s was not reached through the proxy, but %v", want, reached)
		}
	}
	asked := len(up.Requests())
	w.rechain(meta.Member{Upstream: "wrong"}, meta.Member{Upstream: "hub"})
	a := w.get("/v2/library/other/manifests/1")
	if a.Status != http.StatusBadGateway || strings.Contains(a.Body, "a-password") || !strings.Contains(a.Body, "cannot be reached through its proxy") {
		t.Errorf("a proxy that refuses its password: %d %s", a.Status, a.Body)
	}
	w.rechain(meta.Member{Upstream: "gone"}, meta.Member{Upstream: "hub"})
	if a := w.get("/v2/library/other/manifests/1"); a.Status != http.StatusBadGateway || !strings.Contains(a.Body, "upstream_proxies") {
		t.Errorf("a proxy that is not configured: %d %s", a.Status, a.Body)
	}
	if len(up.Requests()) != asked {
		t.Error("an outage led to the next member")
	}
}

// TestT33_ASlowCacheNeedsTimeOfItsOwn: an upstream that takes longer than others may, for
// each document and the first byte of each blob.
func TestT33_ASlowCacheNeedsTimeOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, 300*time.Millisecond)
	up := testserver.StartScripted(t)
	up.SetLatency(600 * time.Millisecond)
	w.upstream("slow", up.URL(), nil)
	w.chain(meta.Member{Upstream: "slow"})
	if a := w.get("/v2/library/app/manifests/1"); a.Status != http.StatusGatewayTimeout {
		t.Errorf("without time of its own: %d %s", a.Status, a.Body)
	}
	w.upstream("patient", up.URL(), func(s *meta.UpstreamSettings) { s.Response, s.Progress = time.Minute, time.Minute })
	w.rechain(meta.Member{Upstream: "patient"})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
}

// TestT38_AClientThatCannotWait leaves before the first byte of each document and blob, and
// finds them later, without another request to the upstream.
func TestT38_AClientThatCannotWait(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, 300*time.Millisecond)
	up := testserver.StartScripted(t)
	hub := w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.Response, s.Progress = time.Minute, time.Minute })
	w.chain(meta.Member{Upstream: "hub"})
	up.SetLatency(500 * time.Millisecond)
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range requests {
		ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if resp, err := w.open(ctx, r.path); err == nil {
			t.Errorf("%s is answered %d before the upstream answers", r.path, resp.StatusCode)
			_ = resp.Body.Close()
		}
		leave()
		await.True(t, time.Minute, r.path+" is kept", func() bool {
			asked := up.Count(http.MethodGet, r.path)
			_, whole := w.fetch(r.path, r.want)
			return whole && asked == 1
		})
	}
	w.wantEverything(meta.Repo{Tenant: w.dev.Tenant, Registry: hub.Cache, Name: testserver.ScriptedName}, up.Image)
	for _, r := range requests {
		if n := up.Count(http.MethodGet, r.path); n != 1 {
			t.Errorf("%s was asked for %d times", r.path, n)
		}
	}
}

// TestT36_OtherURLsServeDuringAnOutage: of tags, lists and blobs; and the next member is not asked
// for what they do not have.
func TestT36_OtherURLsServeDuringAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := testserver.StartScripted(t), testserver.StartScripted(t)
	after := lure(t, first)
	second.RequireToken("bob", "secret")
	w.upstream("up", first.URL(), func(s *meta.UpstreamSettings) {
		s.Alternatives = []meta.UpstreamTarget{{URL: second.URL(), Username: "bob", Password: []byte("secret")}}
		s.ServeAnonymous = new(bool)
		*s.ServeAnonymous = true
	})
	w.upstream("after", after.URL(), nil)
	w.chain(meta.Member{Upstream: "up"}, meta.Member{Upstream: "after"})
	if a := w.get("/v2/library/other/manifests/1"); a.Status != http.StatusNotFound {
		t.Errorf("absent: %d", a.Status)
	}
	if n := len(second.Requests()); n > 0 {
		t.Errorf("%d requests to the second URL before an outage", n)
	}
	first.Stop()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, second.Image)
	if a := w.get("/v2/" + testserver.ScriptedName + "/tags/list"); a.Status != http.StatusOK {
		t.Errorf("the list: %d %s", a.Status, a.Body)
	}
	asked := len(after.Requests())
	if a := w.get("/v2/library/app/manifests/unknown"); a.Status != http.StatusBadGateway && a.Status != http.StatusServiceUnavailable {
		t.Errorf("what the second URL does not have: %d %s", a.Status, a.Body)
	}
	if n := len(after.Requests()); n != asked {
		t.Error("an outage led to the next member")
	}
}

// TestT72_AnAlternativeGetsItsOwnHeadersOnly.
func TestT72_AnAlternativeGetsItsOwnHeadersOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := testserver.StartScripted(t), testserver.StartScripted(t)
	header := func(name string) []meta.UpstreamHeader {
		return []meta.UpstreamHeader{{Name: name, Value: []byte("shh")}}
	}
	w.upstream("up", first.URL(), func(s *meta.UpstreamSettings) {
		s.Headers, s.ServeAnonymous = header("X-First"), new(true)
		s.Alternatives = []meta.UpstreamTarget{{URL: second.URL(), Headers: header("X-Second")}}
	})
	w.chain(meta.Member{Upstream: "up"})
	first.Script(testserver.Fault503)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, second.Image)
	for own, up := range map[string]*testserver.Scripted{"X-First": first, "X-Second": second} {
		if len(up.Requests()) == 0 {
			t.Errorf("no request with %s", own)
		}
		for _, r := range up.Requests() {
			if r.Header.Get(own) != "shh" || r.Header.Get("X-First")+r.Header.Get("X-Second") != "shh" {
				t.Errorf("%s %s: %v", r.Method, r.Path, r.Header)
			}
		}
	}
}

// rechain makes these the members of dev's group instead.
func (w *world) rechain(members ...meta.Member) {
	w.t.Helper()
	g, err := w.Meta.FindGroup(w.t.Context(), w.dev.Tenant, "chain")
	if err == nil {
		g.Members = members
		_, err = w.Meta.UpdateGroup(w.t.Context(), fronttest.By(), g)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Clear()
}
