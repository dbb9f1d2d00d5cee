package proxy_test

import (
	"net/http"
	"strings"
	"testing"

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
