package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/chain"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// private is an upstream with a credential and a choice.
func (w *world) private(slug string, up *testserver.Scripted, serve *bool) meta.Upstream {
	w.t.Helper()
	up.RequireToken("bob", "secret")
	return w.upstream(slug, up.URL(), func(s *meta.UpstreamSettings) {
		s.Username, s.Password, s.ServeAnonymous = "bob", []byte("secret"), serve
		s.HostAliases = []string{slug + ".example"}
	})
}

// choose changes whether an upstream serves callers who are not logged in.
func (w *world) choose(slug string, serve *bool) {
	w.t.Helper()
	u, err := w.Meta.FindUpstream(w.t.Context(), w.dev.Tenant, slug)
	if err == nil {
		u.Settings.ServeAnonymous = serve
		_, err = w.Meta.UpdateUpstream(w.t.Context(), fronttest.By(), u, false)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Clear()
}

// reader is a caller who is logged in.
func (w *world) reader() func(path string) fronttest.Answer {
	w.t.Helper()
	w.Account(w.dev, "reader", access.Reader)
	return func(path string) fronttest.Answer {
		return w.Do(fronttest.Request{Host: w.dev.Host, Path: path, Basic: "reader"})
	}
}

// mirror makes these the upstreams that dev answers for besides its chain.
func (w *world) mirror(slugs ...string) {
	w.t.Helper()
	r, err := w.Meta.FindRegistry(w.t.Context(), w.dev.Tenant, "dev")
	if err == nil {
		r.Settings.MirrorUpstreams = tenant.SlugsOf(slugs)
		_, err = w.Meta.UpdateRegistry(w.t.Context(), fronttest.By(), r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.Sites.Clear()
	w.proxy.Clear()
}

// TestS73_OnlyUpstreamsThatTheRegistryNames asks dev for all upstreams of its
// tenant by proxy/ and ns.
func TestS73_OnlyUpstreamsThatTheRegistryNames(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	for _, slug := range []string{"near", "deep", "listed", "other"} {
		w.upstream(slug, up.URL(), func(s *meta.UpstreamSettings) { s.HostAliases = []string{slug + ".example"} })
	}
	w.Group(w.dev, "below", meta.Member{Upstream: "deep"})
	prod, err := w.Meta.FindRegistry(t.Context(), w.dev.Tenant, "prod")
	if err == nil {
		prod.Settings.UpstreamGroup = "below"
		_, err = w.Meta.UpdateRegistry(t.Context(), fronttest.By(), prod)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.chain(meta.Member{Upstream: "near"}, meta.Member{Registry: "prod"})
	reader := w.reader()
	ways := func(slug string) []string {
		return []string{
			"/v2/proxy/" + slug + ".example/library/app/manifests/1", "/v2/proxy/" + slug + "/library/app/manifests/1",
			"/v2/library/app/manifests/1?ns=" + slug + ".example", "/v2/library/app/tags/list?ns=" + slug,
		}
	}
	reaches := func(slug string, want bool) {
		t.Helper()
		for _, path := range ways(slug) {
			got := reader(path)
			if status := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[want]; got.Status != status {
				t.Errorf("GET %s: %d, want %d", path, got.Status, status)
			}
			if !want {
				unknown := reader(strings.ReplaceAll(path, slug, "nosuch"))
				got.Body = strings.ReplaceAll(got.Body, slug, "nosuch")
				if unknown.Status != got.Status || unknown.Body != got.Body {
					t.Errorf("GET %s: %d %s, want the answer for an unknown name: %d %s", path, got.Status, got.Body, unknown.Status, unknown.Body)
				}
			}
		}
	}
	reaches("near", true)
	reaches("deep", true)
	reaches("listed", false)
	reaches("other", false)
	w.mirror("listed")
	reaches("listed", true)
	reaches("other", false)
	w.mirror()
	reaches("listed", false) // also by what is kept
}

// TestS74_NothingOfACredentialForAnybody asks for what an upstream with a
// credential has, and has not, before and after someone who is logged in had it.
func TestS74_NothingOfACredentialForAnybody(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	no, yes := false, true
	w.private("hub", up, &no)
	hidden := testserver.StartScripted(t)
	w.private("unnamed", hidden, &yes)
	w.chain(meta.Member{Upstream: "hub"})
	reader := w.reader()

	img := up.Image
	content := []string{
		"manifests/" + testserver.ScriptedTag, "manifests/" + img.Index.Digest.String(), "manifests/" + img.Manifest.Digest.String(),
		"blobs/" + img.Layers[1].Digest.String(), "tags/list", "referrers/" + img.Manifest.Digest.String(),
	}
	const is, isNot = testserver.ScriptedName, "library/not"
	ways := []func(name, what string) string{
		func(name, what string) string { return "/v2/" + name + "/" + what },
		func(name, what string) string { return "/v2/proxy/hub.example/" + name + "/" + what },
		func(name, what string) string { return "/v2/" + name + "/" + what + "?ns=hub.example" },
	}
	scope := func(a fronttest.Answer, old, now string) fronttest.Answer {
		a.Header = a.Header.Clone()
		a.Header.Set("WWW-Authenticate", strings.Replace(a.Header.Get("WWW-Authenticate"), old, now, 1))
		return a
	}
	refused := func() {
		t.Helper()
		asked := up.Count("", "*")
		for _, what := range content {
			for i, way := range ways {
				path := way(is, what)
				got := w.get(path)
				if got.Status != http.StatusUnauthorized || got.Code() != "UNAUTHORIZED" || !strings.Contains(got.Header.Get("WWW-Authenticate"), is+":pull") {
					t.Errorf("GET %s: %d %s %v", path, got.Status, got.Body, got.Header)
				}
				w.Same("what is not there, "+way(isNot, what), got, scope(w.get(way(isNot, what)), isNot, is))
				if i > 0 {
					for _, host := range []string{"unnamed.example", "no.such.host"} {
						other := strings.ReplaceAll(path, "hub.example", host)
						answer := w.get(other)
						answer.Header.Del("OCI-Namespace")
						want := scope(got, "hub.example", host)
						want.Header.Del("OCI-Namespace")
						w.Same(other, want, answer)
					}
				}
				token := w.Token(w.dev, access.Principal{}, access.Repository([]string{is, "proxy/hub.example/" + is, "proxy/hub.example/" + is}[i], access.Pull))
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					if a := w.Do(fronttest.Request{Method: method, Host: w.dev.Host, Path: path, Bearer: token}); a.Status != http.StatusUnauthorized {
						t.Errorf("%s %s with a token: %d", method, path, a.Status)
					}
				}
			}
		}
		if n := up.Count("", "*") - asked + hidden.Count("", "*"); n != 0 {
			t.Errorf("upstreams were asked %d times", n)
		}
	}
	served := func(by func(string) fronttest.Answer) {
		t.Helper()
		for _, what := range content {
			for _, way := range ways {
				if a := by(way(is, what)); a.Status != http.StatusOK {
					t.Errorf("GET %s: %d %s", way(is, what), a.Status, a.Body)
				}
			}
		}
	}
	refused()
	served(reader)
	refused()
	w.choose("hub", &yes)
	served(w.get)
	w.choose("hub", &no)
	refused()
	w.choose("hub", nil) // as before there was a choice
	served(w.get)
}

// TestS75_WithheldStopsAWalk puts an upstream that does not serve anyone before
// one that does: what the first may have is not taken from the second.
func TestS75_WithheldStopsAWalk(t *testing.T) {
	for policy, want := range map[meta.Policy]int{"": http.StatusUnauthorized, meta.Stop: http.StatusUnauthorized, meta.Continue: http.StatusOK} {
		t.Run(fmt.Sprintf("on_denied %q", policy), func(t *testing.T) {
			w := newWorld(t)
			private, public := testserver.StartScripted(t), testserver.StartScripted(t)
			no := false
			w.private("private", private, &no)
			w.upstream("public", public.URL(), nil)
			w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "private", Exclude: []string{"open/**"}, OnDenied: policy}, meta.Member{Upstream: "public"})
			w.push(w.prod, "team/app", "1", ocitest.NewImage(7, 100))
			public.Push("open/app", public.Image, "1")
			const name = "/v2/" + testserver.ScriptedName + "/"
			for path, want := range map[string]int{
				name + "manifests/1": want, name + "tags/list": want, name + "blobs/" + public.Image.Config.Digest.String(): want,
				name + "manifests/no":       http.StatusUnauthorized,
				"/v2/team/app/manifests/1":  http.StatusOK,
				"/v2/team/app/tags/list":    http.StatusOK,
				"/v2/team/app/manifests/no": http.StatusUnauthorized,
				"/v2/open/app/manifests/1":  http.StatusOK,
				"/v2/open/app/tags/list":    http.StatusOK,
				"/v2/open/app/manifests/no": http.StatusNotFound,
			} {
				if a := w.get(path); a.Status != want {
					t.Errorf("GET %s: %d %s, want %d", path, a.Status, a.Body, want)
				}
			}
			if n := private.Count("", "*"); n != 0 {
				t.Errorf("the private upstream was asked %d times", n)
			}
			for anonymous, want := range map[bool]string{true: "upstreams/private denied", false: "upstreams/private found!"} {
				a, err := w.proxy.Resolve(t.Context(), w.dev.Tenant, w.dev.TenantSlug, "dev", testserver.ScriptedName, oci.Reference{Tag: "1"}, anonymous, chain.PullsAll)
				if err != nil || !strings.Contains(story(a), want) {
					t.Errorf("resolved, anonymous %t: %s, %v", anonymous, story(a), err)
				}
				for _, one := range a.Answers {
					if one.Member == "upstreams/private" && !strings.Contains(one.Detail, "serve_anonymous") {
						t.Errorf("anonymous %t: the account does not say why: %q", anonymous, one.Detail)
					}
				}
			}
		})
	}
}

// TestS76_WhatACredentialGotStaysIts takes the credential away from an upstream, and
// gives it another, while what it got is kept.
func TestS76_WhatACredentialGotStaysIts(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	no := false
	u := w.private("hub", up, &no)
	w.chain(meta.Member{Upstream: "hub"})
	reader := w.reader()
	paths := []string{"/v2/library/app/manifests/1", "/v2/library/app/tags/list", "/v2/library/app/blobs/" + up.Image.Config.Digest.String()}
	for _, path := range paths {
		if a := reader(path); a.Status != http.StatusOK {
			t.Fatal(path, a.Status)
		}
	}
	u.Settings.Username, u.Settings.Password = "", nil
	if _, err := w.Meta.UpdateUpstream(t.Context(), fronttest.By(), u, true); err != nil { // as the admin service does, by keepsCache
		t.Fatal(err)
	}
	w.proxy.Clear()
	for _, path := range paths {
		if a := w.get(path); a.Status/100 == 2 {
			t.Errorf("GET %s without the credential that got it: %d", path, a.Status)
		}
	}
}
