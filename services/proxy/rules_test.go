package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// newRules makes a world whose upstream hub has these rules.
func newRules(t *testing.T, change func(*meta.UpstreamSettings)) (*world, *testserver.Scripted) {
	t.Helper()
	w := newWorld(t)
	up := testserver.StartScripted(t)
	w.upstream("hub", up.URL(), change)
	w.chain(meta.Member{Upstream: "hub"})
	return w, up
}

// manifests is the path of dev's manifests of the upstream's image.
const manifests = "/v2/" + testserver.ScriptedName + "/manifests/"

// TestT62_TagsLiveByRule: releases are asked for once, "latest" each minute, all others
// by tag_ttl.
func TestT62_TagsLiveByRule(t *testing.T) {
	w, up := newRules(t, func(s *meta.UpstreamSettings) {
		s.TagRules = []meta.UpstreamTagRule{{Tags: []string{"latest", "edge-*"}, TTL: time.Minute}, {Versions: "*", Immutable: true}}
	})
	tags := []string{"latest", "edge-1", "v1.2.3", "1.2.3", "1.2", "1.2.3-rc1"}
	up.Push(testserver.ScriptedName, up.Image, tags...)
	pull := func() {
		t.Helper()
		up.Forget()
		for _, tag := range tags {
			if a := w.get(manifests + tag); a.Status != http.StatusOK {
				t.Fatalf("%s: %d", tag, a.Status)
			}
		}
	}
	want := func(asked string) {
		t.Helper()
		var got []string
		for _, tag := range tags {
			if up.Count("", manifests+tag) > 0 {
				got = append(got, tag)
			}
		}
		if strings.Join(got, " ") != asked {
			t.Errorf("asked for %v, want %s", got, asked)
		}
	}
	pull()
	w.pass(time.Minute + time.Second)
	pull()
	want("latest edge-1")
	w.pass(tagTTL)
	pull()
	want("latest edge-1 1.2 1.2.3-rc1")
	w.pass(23 * time.Hour)
	pull()
	want("latest edge-1 1.2 1.2.3-rc1")
}

// TestT63_WhatIsGoneIsKept serves a deleted tag, and no other member's image under its
// name.
func TestT63_WhatIsGoneIsKept(t *testing.T) {
	w := newWorld(t)
	up, other := testserver.StartScripted(t), testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.KeepGone = true })
	w.upstream("other", other.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "other"})
	other.Push(testserver.ScriptedName, ocitest.NewImage(9, 10), testserver.ScriptedTag)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.Delete(testserver.ScriptedName)
	for range 3 {
		w.pass(tagTTL + time.Second)
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		if a := w.get(manifests + testserver.ScriptedTag); a.Header.Get("Warning") == "" {
			t.Error("without a warning")
		}
	}
	if n := other.Count("", "*"); n != 0 {
		t.Errorf("the next member was asked %d times", n)
	}
}

// refused fails the test unless the manifest is 403, and the answer names the setting.
func (w *world) refused(setting string, paths ...string) {
	w.t.Helper()
	for _, path := range paths {
		if a := w.get(path); a.Status != http.StatusForbidden || a.Code() != "DENIED" || !strings.Contains(a.Body, setting) {
			w.t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
		if strings.Contains(path, "?") {
			continue
		}
		if a := w.head(path); a.Status != http.StatusForbidden {
			w.t.Errorf("HEAD %s: %d", path, a.Status)
		}
	}
}

// waysTo are all ways to a manifest of the upstream hub.
func waysTo(reference string) []string {
	return []string{
		manifests + reference, "/v2/proxy/hub/" + testserver.ScriptedName + "/manifests/" + reference,
		manifests + reference + "?ns=hub", "/v2/proxy/hub/" + testserver.ScriptedName + "/manifests/" + reference + "?ns=hub",
	}
}

// TestT64_NewDigestsWait: a tag that moved is served as it was until its new manifest is
// old enough; a manifest without a predecessor is refused by each way to it.
func TestT64_NewDigestsWait(t *testing.T) {
	const day = 24 * time.Hour
	w, up := newRules(t, func(s *meta.UpstreamSettings) { s.MinAge, s.Keep = day, 30*day })
	ways := append(append(waysTo(testserver.ScriptedTag), waysTo(up.Image.Index.Digest.String())...), waysTo(up.Image.Manifest.Digest.String())...)
	for range 2 { // fetched, then cached
		w.refused("min_age", ways...)
		w.pass(tagTTL + time.Second)
	}
	up.Script(testserver.FaultRefused)
	w.pass(tagTTL + time.Second)
	w.refused("min_age", manifests+testserver.ScriptedTag) // stale
	up.Script(testserver.FaultNone)
	w.pass(day)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)

	next := ocitest.NewImage(5, 1000)
	up.Push(testserver.ScriptedName, next, testserver.ScriptedTag)
	for range 3 {
		w.pass(tagTTL + time.Second)
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	}
	w.refused("min_age", waysTo(next.Index.Digest.String())...)
	w.pass(day)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, next)

	// Approved, an index is served with the manifests in it.
	last := ocitest.NewImage(6, 1000)
	up.Push(testserver.ScriptedName, last, testserver.ScriptedTag)
	w.change("hub", func(s *meta.UpstreamSettings) { s.ApprovedDigests = []oci.Digest{last.Index.Digest} })
	w.pass(tagTTL + time.Second)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, last)
}

// change changes an upstream's settings.
func (w *world) change(slug string, change func(*meta.UpstreamSettings)) {
	w.t.Helper()
	u, err := w.Meta.FindUpstream(w.t.Context(), w.dev.Tenant, slug)
	if err == nil {
		change(&u.Settings)
		_, err = w.Meta.UpdateUpstream(w.t.Context(), meta.Cause{Op: uuid.New()}, u, false)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.Clear()
}

// TestT65_PlatformsAndLicenses: what the config says decides, for what is cached, too.
func TestT65_PlatformsAndLicenses(t *testing.T) {
	for name, c := range map[string]struct {
		rules   func(*meta.UpstreamSettings)
		refused string // empty: served
	}{
		"allowed":         {func(s *meta.UpstreamSettings) { s.Platforms = []string{"linux/*"} }, ""},
		"without variant": {func(s *meta.UpstreamSettings) { s.Platforms = []string{"linux/amd64"} }, ""},
		"another":         {func(s *meta.UpstreamSettings) { s.Platforms = []string{"linux/arm64", "windows/*"} }, "platforms"},
		"denied":          {func(s *meta.UpstreamSettings) { s.DeniedPlatforms = []string{"*/amd64"} }, "platforms"},
		"allowed, denied": {func(s *meta.UpstreamSettings) {
			s.Platforms, s.DeniedPlatforms = []string{"linux/*"}, []string{"linux/amd64"}
		}, "platforms"},
		"others denied":    {func(s *meta.UpstreamSettings) { s.DeniedPlatforms = []string{"windows/*"} }, ""},
		"no license said":  {func(s *meta.UpstreamSettings) { s.Licenses = []string{"MIT"} }, "licenses"},
		"nothing is asked": {func(*meta.UpstreamSettings) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, up := newRules(t, nil)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image) // cached before there was a rule
			w.change("hub", c.rules)
			ways := append(waysTo(testserver.ScriptedSingleTag), waysTo(up.Image.Manifest.Digest.String())...)
			if c.refused != "" {
				w.refused(c.refused, ways...)
				return
			}
			for _, path := range ways {
				if a := w.get(path); a.Status != http.StatusOK {
					t.Errorf("%s: %d %s", path, a.Status, a.Body)
				}
			}
		})
	}
	licensed := func(said string) ocitest.Content {
		return ocitest.Extra{Annotations: map[string]string{"org.opencontainers.image.licenses": said}}.Manifest(ocitest.Config([]byte(`{"os":"linux","architecture":"amd64"}`)))
	}
	w, up := newRules(t, func(s *meta.UpstreamSettings) { s.Licenses = []string{"MIT", "Apache-2.0"} })
	for said, want := range map[string]int{
		"MIT": 200, "MIT AND Apache-2.0": 200, "MIT OR GPL-3.0-only": 200, "GPL-3.0-only": 403, "MIT AND GPL-3.0-only": 403, "mine": 403, "": 403,
	} {
		m := licensed(said)
		up.PushManifest("library/licensed", m)
		up.PushBlob("library/licensed", ocitest.Config([]byte(`{"os":"linux","architecture":"amd64"}`)))
		if a := w.get("/v2/library/licensed/manifests/" + m.Digest.String()); a.Status != want {
			t.Errorf("%q: %d %s", said, a.Status, a.Body)
		}
	}
}

// TestT66_ARefusalStops: members after it are asked only if on_denied says so, also for
// what is cached, and an upstream whose config cannot be read is out.
func TestT66_ARefusalStops(t *testing.T) {
	w := newWorld(t)
	up, next := testserver.StartScripted(t), testserver.StartScripted(t)
	w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) { s.DeniedPlatforms = []string{"linux/amd64"} })
	w.upstream("next", next.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"}, meta.Member{Upstream: "next"})
	digest := up.Image.Manifest.Digest.String()
	for range 2 {
		w.refused("denied", manifests+testserver.ScriptedSingleTag, manifests+digest)
	}
	if n := next.Count("", "*"); n != 0 {
		t.Errorf("the next member was asked %d times", n)
	}
	g, err := w.Meta.FindGroup(t.Context(), w.dev.Tenant, "chain")
	if err == nil {
		g.Members[0].OnDenied = meta.Continue
		_, err = w.Meta.UpdateGroup(t.Context(), meta.Cause{Op: uuid.New()}, g)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.Clear()
	for _, reference := range []string{testserver.ScriptedSingleTag, digest} {
		if a := w.get(manifests + reference); a.Status != http.StatusOK {
			t.Errorf("with on_denied CONTINUE: %s: %d %s", reference, a.Status, a.Body)
		}
	}

	out, broken := newRules(t, func(s *meta.UpstreamSettings) { s.Platforms = []string{"linux/*"} })
	broken.Script(testserver.Fault500, testserver.PartBlobs)
	if a := out.get(manifests + testserver.ScriptedSingleTag); a.Status < 500 {
		t.Errorf("without its config: %d %s", a.Status, a.Body)
	}
}
