package proxy_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestE16_WhatIsAnsweredWhenTheUpstreamNoLongerAgrees is the policy table: what
// the upstream says, and how long after it confirmed the tag.
func TestE16_WhatIsAnsweredWhenTheUpstreamNoLongerAgrees(t *testing.T) {
	const (
		stale = 24 * time.Hour
		ok    = http.StatusOK
	)
	for _, c := range []struct {
		fault  testserver.Fault
		stale  time.Duration // stale_if_error
		after  time.Duration // tag_ttl
		status int
	}{
		{testserver.FaultUnauthorized, stale, 0, ok},
		{testserver.FaultUnauthorized, stale, time.Hour - time.Minute, ok},
		{testserver.FaultUnauthorized, stale, time.Hour + time.Minute, http.StatusForbidden},
		{testserver.FaultUnauthorized, 0, 0, http.StatusForbidden},
		{testserver.FaultForbidden, stale, time.Hour - time.Minute, ok},
		{testserver.FaultForbidden, stale, time.Hour + time.Minute, http.StatusForbidden},
		{testserver.FaultForbidden, time.Minute, 2 * time.Minute, http.StatusForbidden},
		{testserver.FaultNotFound, stale, 0, http.StatusNotFound},
		{testserver.FaultNotFound, stale, stale + time.Minute, http.StatusNotFound},
		{testserver.Fault500, stale, stale - time.Minute, ok},
		{testserver.Fault500, stale, stale + time.Minute, http.StatusBadGateway},
		{testserver.Fault500, 0, 0, http.StatusBadGateway},
		{testserver.FaultRefused, stale, stale - time.Minute, ok},
		{testserver.FaultRefused, stale, stale + time.Minute, http.StatusBadGateway},
		{testserver.Fault429, stale, stale - time.Minute, ok},
		{testserver.Fault429, stale, stale + time.Minute, http.StatusTooManyRequests},
		{testserver.FaultNone, stale, 0, ok},
	} {
		t.Run(c.fault.String()+" "+c.stale.String()+" "+c.after.String(), func(t *testing.T) {
			w := newWorld(t)
			up := testserver.StartScripted(t)
			up.RequireToken("bob", "secret")
			w.upstream("hub", up.URL(), func(s *meta.UpstreamSettings) {
				s.Username, s.Password, s.StaleIfError, s.Keep = "bob", []byte("secret"), c.stale, 30*24*time.Hour
			})
			w.chain(meta.Member{Upstream: "hub"})
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			up.Script(c.fault)
			w.pass(tagTTL + c.after)
			path := "/v2/" + testserver.ScriptedName + "/manifests/"
			a := w.get(path + testserver.ScriptedTag)
			if a.Status != c.status {
				t.Fatalf("%d %s, want %d", a.Status, a.Body, c.status)
			}
			warned := strings.HasPrefix(a.Header.Get("Warning"), "110 ")
			if warned != (a.Status == ok && c.fault != testserver.FaultNone) {
				t.Errorf("Warning %q with %d", a.Header.Get("Warning"), a.Status)
			}
			if age, err := strconv.Atoi(a.Header.Get("Age")); warned && (err != nil || age != int((tagTTL+c.after).Seconds())) {
				t.Errorf("Age %q, want %v", a.Header.Get("Age"), tagTTL+c.after)
			}
			if a := w.get(path + up.Image.Index.Digest.String()); a.Status != ok || a.Header.Get("Warning") != "" {
				t.Errorf("by digest: %d, Warning %q", a.Status, a.Header.Get("Warning"))
			}
			if c.fault == testserver.FaultNotFound {
				up.Script(testserver.FaultRefused) // the tag is gone, not stale
				w.pass(time.Minute)
				if a := w.get(path + testserver.ScriptedTag); a.Status != http.StatusBadGateway {
					t.Errorf("a tag that was deleted, in an outage: %d", a.Status)
				}
			}
		})
	}
}

// TestE16_A404OfAHeadIsNotBelievedAlone has a cache in the middle that answers
// HEAD by what it has.
func TestE16_A404OfAHeadIsNotBelievedAlone(t *testing.T) {
	w, up := newHub(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	w.pass(tagTTL)
	up.Forget()
	up.Play(testserver.Script{Fault: testserver.FaultNotFound, Times: 1})
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if heads, gets := up.Count(http.MethodHead, "*"), up.Count(http.MethodGet, "*"); heads != 1 || gets != 1 {
		t.Errorf("%d HEAD and %d GET, want one of each", heads, gets)
	}
}

// TestE15_ATagThatGoesBack is served, and recorded.
func TestE15_ATagThatGoesBack(t *testing.T) {
	w, up := newHub(t)
	newer := ocitest.NewImage(70, 1000)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	rollbacks := func() []meta.Event {
		t.Helper()
		events, err := w.Meta.ListEvents(t.Context(), w.dev.Tenant, meta.Page{Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		var found []meta.Event
		for _, e := range events {
			if e.Verb == "cache.tag_rollback" {
				found = append(found, e)
			}
		}
		return found
	}
	w.pass(tagTTL)
	up.Push(testserver.ScriptedName, newer, testserver.ScriptedTag)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, newer)
	if found := rollbacks(); len(found) != 0 {
		t.Errorf("a tag that moved on: %+v", found)
	}
	w.pass(tagTTL)
	up.Push(testserver.ScriptedName, up.Image, testserver.ScriptedTag)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	found := rollbacks()
	want := "upstreams/hub/repositories/" + testserver.ScriptedName + ":" + testserver.ScriptedTag + "@" + up.Image.Index.Digest.String()
	if len(found) != 1 || found[0].Actor != "upstreams/hub" || found[0].Target != want {
		t.Errorf("a tag that went back: %+v, want %s", found, want)
	}
}

// TestR38_ARateLimitIsHeeded has the upstream refuse, and asks for what is kept
// and what is not.
func TestR38_ARateLimitIsHeeded(t *testing.T) {
	for _, f := range []testserver.Fault{testserver.Fault429, testserver.Fault429RetryAfter} {
		t.Run(f.String(), func(t *testing.T) {
			w, up := newHub(t)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			w.pass(tagTTL)
			up.Forget()
			up.Script(f)
			path := "/v2/" + testserver.ScriptedName + "/manifests/"
			for range 5 {
				a := w.get(path + testserver.ScriptedTag)
				if a.Status != http.StatusOK || a.Header.Get("Warning") == "" || a.Body != string(up.Image.Index.Bytes) {
					t.Errorf("a tag that is kept: %d, Warning %q", a.Status, a.Header.Get("Warning"))
				}
				for _, missing := range []string{path + "other", strings.Replace(path, "manifests", "blobs", 1) + ocitest.NewImage(71, 10).Config.Digest.String()} {
					a = w.get(missing)
					retry, err := strconv.Atoi(a.Header.Get("Retry-After"))
					if a.Status != http.StatusTooManyRequests || a.Code() != "TOOMANYREQUESTS" || err != nil || retry < 1 || retry > 10 {
						t.Errorf("GET %s, not kept: %d %s, Retry-After %q", missing, a.Status, a.Code(), a.Header.Get("Retry-After"))
					}
				}
			}
			for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)[1:] {
				if status, ok := w.fetch(r.path, r.want); !ok {
					t.Errorf("GET %s, kept: %d", r.path, status)
				}
			}
			if n := up.Count("", "*"); n != 2 { // one for a manifest, one for a blob (T5)
				t.Errorf("%d requests to an upstream that wants to be left alone, want 2", n)
			}
		})
	}
}
