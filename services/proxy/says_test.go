package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// edges are the faults of what stands before a registry that is away.
var edges = []testserver.Fault{
	testserver.FaultEdge404, testserver.FaultEdge404Version, testserver.FaultPlain404,
	testserver.FaultOther404, testserver.FaultSidecar, testserver.FaultHTML,
}

// TestT1_AnEdgeIsNotTheRegistry has the upstream go away behind its edge after a pull:
// what is kept is answered, what is not is an outage, and the next member is not asked.
func TestT1_AnEdgeIsNotTheRegistry(t *testing.T) {
	t.Parallel()
	for _, f := range edges {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			up := testserver.StartScripted(t)
			after := lure(t, up)
			w.upstream("up", up.URL(), nil)
			w.upstream("after", after.URL(), nil)
			w.chain(meta.Member{Upstream: "up"}, meta.Member{Upstream: "after"})
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			up.Script(f)
			w.pass(tagTTL)
			path := "/v2/" + testserver.ScriptedName + "/manifests/"
			for range 2 { // the first time forgets nothing
				a := w.get(path + testserver.ScriptedTag)
				if a.Status != http.StatusOK || a.Body != string(up.Image.Index.Bytes) || !strings.HasPrefix(a.Header.Get("Warning"), "110 ") {
					t.Errorf("a tag that is kept: %d, Warning %q", a.Status, a.Header.Get("Warning"))
				}
				w.pass(time.Minute)
			}
			for _, path := range []string{
				path + "unknown", path + after.Image.Manifest.Digest.String()[:70] + "0",
				"/v2/library/other/tags/list", "/v2/library/other/referrers/" + up.Image.Index.Digest.String(),
			} {
				if a := w.get(path); a.Status != http.StatusBadGateway {
					t.Errorf("GET %s: %d %s", path, a.Status, a.Body)
				}
			}
			if n := after.Count("", "*"); n != 0 {
				t.Errorf("the next member was asked: %+v", after.Requests())
			}
		})
	}
}

// TestT1_AServerOfFiles cannot say that something is not there, and serves what is.
func TestT1_AServerOfFiles(t *testing.T) {
	w, up := newHub(t)
	up.ServeFiles()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	unknown := "/v2/" + testserver.ScriptedName + "/manifests/unknown"
	if a := w.get(unknown); a.Status != http.StatusBadGateway || !strings.Contains(a.Body, "not_found to TRUST") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w = newWorld(t)
	w.upstream("files", up.URL(), func(s *meta.UpstreamSettings) { s.TrustNotFound = true })
	w.chain(meta.Member{Upstream: "files"})
	if a := w.get(unknown); a.Status != http.StatusNotFound {
		t.Errorf("trusted: %d %s", a.Status, a.Body)
	}
}

// TestT2_ARegistryThatHides is asked with its credential, and the next member is not.
func TestT2_ARegistryThatHides(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	up.RequireToken("bob", "secret")
	up.HideFromStrangers()
	after := lure(t, up)
	w.upstream("up", up.URL(), func(s *meta.UpstreamSettings) {
		s.Username, s.Password = "bob", []byte("secret")
		yes := true
		s.ServeAnonymous = &yes
	})
	w.upstream("after", after.URL(), nil)
	w.chain(meta.Member{Upstream: "up"}, meta.Member{Upstream: "after"})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if n := up.Count("", "/v2/"); n != 1 || after.Count("", "*") != 0 {
		t.Errorf("/v2/ was asked %d times, the next member %d times", n, after.Count("", "*"))
	}
}

// TestT3_AFirewallRefusesHead: a tag is revalidated anyway.
func TestT3_AFirewallRefusesHead(t *testing.T) {
	for _, f := range []testserver.Fault{
		testserver.FaultHead400, testserver.FaultHead401, testserver.FaultHead403,
		testserver.FaultHead405, testserver.FaultHead406, testserver.FaultHead501,
	} {
		w, up := newHub(t)
		up.Script(f)
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		newer := ocitest.NewImage(70, 1000)
		up.Push(testserver.ScriptedName, newer, testserver.ScriptedTag)
		w.pass(tagTTL)
		up.Forget()
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, newer)
		w.pass(tagTTL)
		if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag); a.Header.Get("Warning") != "" {
			t.Errorf("%s: Warning %q", f, a.Header.Get("Warning"))
		}
		if n := up.Count(http.MethodHead, "*"); n != 1 {
			t.Errorf("%s: %d HEAD, want one", f, n)
		}
	}
}

// TestT4_ATokenThatEndedEarly and is answered by 403 is replaced.
func TestT4_ATokenThatEndedEarly(t *testing.T) {
	w, up := newHub(t)
	up.RequireToken("", "")
	up.ForbidExpired()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.ExpireTokens()
	w.pass(tagTTL)
	if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag); a.Status != http.StatusOK || a.Header.Get("Warning") != "" {
		t.Errorf("%d, Warning %q", a.Status, a.Header.Get("Warning"))
	}
	if n := up.Count("", "/token"); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

// TestT5_ALimitOfManifests does not stop blobs.
func TestT5_ALimitOfManifests(t *testing.T) {
	w, up := newHub(t)
	base := "/v2/" + testserver.ScriptedName
	up.Script(testserver.Fault429RetryAfter, testserver.PartManifests)
	if a := w.get(base + "/manifests/" + testserver.ScriptedTag); a.Status != http.StatusTooManyRequests {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	blob := up.Image.Layers[0]
	if a := w.get(base + "/blobs/" + blob.Digest.String()); a.Status != http.StatusOK || a.Body != string(blob.Bytes) {
		t.Errorf("a blob: %d", a.Status)
	}
	if a := w.get(base + "/manifests/" + testserver.ScriptedSingleTag); a.Status != http.StatusTooManyRequests {
		t.Errorf("another manifest: %d", a.Status)
	}
	if n := up.Count("", base+"/manifests/*"); n != 1 {
		t.Errorf("%d requests for manifests, want one", n)
	}
}

// TestT6_AHostThatLeadsToARegistry which wants tokens that everybody gets.
func TestT6_AHostThatLeadsToARegistry(t *testing.T) {
	for _, credential := range []string{"", "secret"} {
		w := newWorld(t)
		host, up := testserver.StartScripted(t), testserver.StartScripted(t)
		host.LeadTo(up.URL())
		up.RequireToken("", "")
		up.RedirectBlobs(up.CDN.URL())
		w.upstream("vanity", host.URL(), func(s *meta.UpstreamSettings) {
			if yes := true; credential != "" {
				s.Username, s.Password, s.ServeAnonymous = "bob", []byte(credential), &yes
			}
		})
		w.chain(meta.Member{Upstream: "vanity"})
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/unknown"); a.Status != http.StatusNotFound {
			t.Errorf("an unknown tag: %d %s", a.Status, a.Body)
		}
		for _, r := range append(up.Requests(), up.CDN.Requests()...) {
			if strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") {
				t.Errorf("the credential went to %s", r.Path)
			}
		}
		signature := referrer(up.Image.Index, "application/x.signature", 1)
		up.PushManifest(testserver.ScriptedName, signature)
		a := w.get("/v2/" + testserver.ScriptedName + "/referrers/" + up.Image.Index.Digest.String())
		if a.Status != http.StatusOK || len(referrersIn([]byte(a.Body))) != 1 {
			t.Errorf("referrers: %d %s", a.Status, a.Body)
		}
		if n := up.Count("", "/token"); n != 1 {
			t.Errorf("%d tokens, want one", n)
		}
	}
}

// TestT8_WhatHarmsNobody is read.
func TestT8_WhatHarmsNobody(t *testing.T) {
	t.Parallel()
	for _, f := range []testserver.Fault{testserver.FaultGzip, testserver.FaultGzipLabel, testserver.FaultOctetStream, testserver.FaultExpiresText} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w, up := newHub(t)
			up.RequireToken("", "")
			up.Script(f)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		})
	}
	for f, status := range map[testserver.Fault]int{
		testserver.FaultLinkBare: http.StatusOK, testserver.FaultLinkElsewhere: http.StatusOK, testserver.FaultLinkGarbage: http.StatusBadGateway,
	} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w, up := newHub(t)
			var tags []string
			for i := range 1500 { // more than a page
				tags = append(tags, fmt.Sprintf("t%04d", i))
			}
			up.PushManifest(testserver.ScriptedName, up.Image.Manifest, tags...)
			up.Script(f)
			a := w.get("/v2/" + testserver.ScriptedName + "/tags/list?n=1000")
			if a.Status != status || status == http.StatusOK && !strings.Contains(a.Body, "t0990") {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
}

// TestT7_ARefusalIsNoAbsence: an image whose signatures the upstream refuses to list does
// not look unsigned, whether it was pulled before or not.
func TestT7_ARefusalIsNoAbsence(t *testing.T) {
	for _, f := range []testserver.Fault{testserver.FaultForbidden, testserver.FaultUnauthorized} {
		for _, pulled := range []bool{true, false} {
			w := newWorld(t)
			up, after := testserver.StartScripted(t), testserver.StartScripted(t)
			w.upstream("hub", up.URL(), nil)
			w.upstream("after", after.URL(), nil)
			w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "after"})
			if pulled {
				w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			}
			referrers := "/v2/" + testserver.ScriptedName + "/referrers/"
			up.Script(f, testserver.PartReferrers)
			a := w.get(referrers + up.Image.Index.Digest.String())
			if a.Status != http.StatusBadGateway || !strings.Contains(a.Body, "refuses to list") {
				t.Errorf("%s, pulled %v: %d %s", f, pulled, a.Status, a.Body)
			}
			up.Script(f) // it gives nothing: the other member may answer
			if a := w.get(referrers + ocitest.NewImage(80, 10).Index.Digest.String()); a.Status != http.StatusOK {
				t.Errorf("%s, of an upstream that denies all: %d %s", f, a.Status, a.Body)
			}
		}
	}
}

// TestT7_AnOutageOfTheSubject leaves open whether the upstream has it: the refusal to list
// its referrers is not an empty list then.
func TestT7_AnOutageOfTheSubject(t *testing.T) {
	w := newWorld(t)
	after := testserver.StartScripted(t)
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":[{"code":"DENIED"}]}`)
	}))
	t.Cleanup(hub.Close)
	w.upstream("hub", hub.URL, nil)
	w.upstream("after", after.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "after"})
	a := w.get("/v2/" + testserver.ScriptedName + "/referrers/" + after.Image.Index.Digest.String())
	if a.Status != http.StatusBadGateway {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
