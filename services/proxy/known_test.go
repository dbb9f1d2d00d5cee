package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// restart starts another process on the same stores, and returns how to ask it.
func (w *world) restart() func(path string) fronttest.Answer {
	w.t.Helper()
	w.node(lease.NewMemory(), access.NewInternal("0123456789abcdef0123456789abcdef"))
	return func(path string) fronttest.Answer {
		w.t.Helper()
		return w.Do(fronttest.Request{Host: w.dev.Host, Path: path, Header: fronttest.Headers(nodeHeader, "1")})
	}
}

// warned says whether an answer has both warnings of a list that may be incomplete.
func warned(a fronttest.Answer) bool {
	all := a.Header.Values("Warning")
	return len(all) == 2 && strings.HasPrefix(all[0], "110 ") && strings.HasPrefix(all[1], "199 ")
}

const (
	scriptedTags      = "/v2/" + testserver.ScriptedName + "/tags/list"
	scriptedManifests = "/v2/" + testserver.ScriptedName + "/manifests/"
	scriptedReferrers = "/v2/" + testserver.ScriptedName + "/referrers/"
)

// TestT11_ListsAfterARestart are those of what is cached, whatever is wrong with the
// upstream, and no others are empty.
func TestT11_ListsAfterARestart(t *testing.T) {
	t.Parallel()
	for _, f := range []testserver.Fault{
		testserver.FaultRefused, testserver.Fault503, testserver.Fault429, testserver.FaultEdge404, testserver.FaultForbidden, testserver.FaultUnauthorized,
	} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w, up := newHub(t)
			signature, unseen := referrer(up.Image.Index, "application/x.signature", 1), referrer(up.Image.Index, "application/x.sbom", 2)
			up.PushManifest(testserver.ScriptedName, signature, "signature")
			up.PushManifest(testserver.ScriptedName, unseen)
			for _, ref := range []string{testserver.ScriptedTag, signature.Digest.String(), "signature"} {
				w.get(scriptedManifests + ref)
			}
			get := w.restart()
			up.Script(f)
			for path, want := range map[string]string{
				scriptedTags: "1 signature", scriptedTags + "?n=1": "1", scriptedTags + "?last=1": "signature", scriptedTags + "?last=signature": "",
			} {
				a := get(path)
				if got := strings.Join(tagsIn([]byte(a.Body)), " "); a.Status != http.StatusOK || got != want || !warned(a) {
					t.Errorf("GET %s: %d %s, Warning %q; want %q", path, a.Status, a.Body, a.Header.Values("Warning"), want)
				}
			}
			for path, want := range map[string]int{
				up.Image.Index.Digest.String(): 1, up.Image.Index.Digest.String() + "?artifactType=application/x.signature": 1,
			} {
				a := get(scriptedReferrers + path)
				found := referrersIn([]byte(a.Body))
				if a.Status != http.StatusOK || len(found) != want || found[0].Digest != signature.Digest || !warned(a) {
					t.Errorf("GET %s: %d %s, Warning %q", path, a.Status, a.Body, a.Header.Values("Warning"))
				}
			}
			for _, path := range []string{
				"/v2/library/other/tags/list", scriptedReferrers + up.Image.Manifest.Digest.String(),
			} {
				denied := f == testserver.FaultForbidden || f == testserver.FaultUnauthorized
				if a := get(path); a.Status == http.StatusOK && !denied || a.Status == http.StatusNotFound && !denied {
					t.Errorf("GET %s, of which nothing is cached: %d %s", path, a.Status, a.Body)
				}
			}
			up.Script(testserver.FaultNone)
			w.pass(time.Minute)
		})
	}
}

// TestT11_RefusedReferrersOfTheKnown: what the upstream refuses to list, but gave before.
func TestT11_RefusedReferrersOfTheKnown(t *testing.T) {
	w, up := newHub(t)
	signature := referrer(up.Image.Index, "application/x.signature", 1)
	up.PushManifest(testserver.ScriptedName, signature)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	path := scriptedReferrers + up.Image.Index.Digest.String()
	up.Script(testserver.FaultForbidden, testserver.PartReferrers)
	if a := w.get(path); a.Status != http.StatusBadGateway {
		t.Errorf("nothing known: %d %s", a.Status, a.Body)
	}
	up.Script(testserver.FaultNone)
	if a := w.get(path); a.Status != http.StatusOK || a.Header.Get("Warning") != "" || len(referrersIn([]byte(a.Body))) != 1 {
		t.Errorf("listed: %d %s", a.Status, a.Body)
	}
	up.Script(testserver.FaultForbidden, testserver.PartReferrers)
	w.pass(tagTTL + time.Minute)
	a := w.get(path)
	if a.Status != http.StatusOK || len(referrersIn([]byte(a.Body))) != 1 || len(a.Header.Values("Warning")) != 1 || a.Header.Get("Age") != "360" {
		t.Errorf("listed before: %d %s %v", a.Status, a.Body, a.Header)
	}
	w.pass(time.Hour)
	if a := w.get(path); a.Status != http.StatusBadGateway {
		t.Errorf("listed long before, and not pulled: %d %s", a.Status, a.Body)
	}
	w.get(scriptedManifests + signature.Digest.String())
	if a := w.get(path); a.Status != http.StatusOK || len(referrersIn([]byte(a.Body))) != 1 || !warned(a) {
		t.Errorf("pulled: %d %s %v", a.Status, a.Body, a.Header)
	}
}

// TestT11_AMemberIsOut: its known entries are merged with those of the others. With
// nothing known of it, only on_outage: CONTINUE continues, and the list says so.
func TestT11_AMemberIsOut(t *testing.T) {
	w := newWorld(t)
	first, second := testserver.StartScripted(t), testserver.StartScripted(t)
	w.upstream("first", first.URL(), nil)
	w.upstream("second", second.URL(), nil)
	w.chain(meta.Member{Upstream: "first", OnOutage: meta.Continue}, meta.Member{Upstream: "second"})
	img := ocitest.NewImage(90, 100)
	ofFirst, ofSecond := referrer(img.Index, "application/x.first", 1), referrer(img.Index, "application/x.second", 2)
	first.Push(testserver.ScriptedName, img, "only-first")
	first.PushManifest(testserver.ScriptedName, ofFirst)
	second.PushManifest(testserver.ScriptedName, ofSecond, "only-second")
	first.Script(testserver.FaultRefused)
	check := func(what string, tags []string, referrers int) {
		t.Helper()
		a := w.get(scriptedTags)
		if got := tagsIn([]byte(a.Body)); !slices.Equal(got, tags) || !warned(a) {
			t.Errorf("%s: %d %s, Warning %q", what, a.Status, a.Body, a.Header.Values("Warning"))
		}
		a = w.get(scriptedReferrers + img.Index.Digest.String())
		if got := referrersIn([]byte(a.Body)); len(got) != referrers || !warned(a) {
			t.Errorf("%s: %d %s, Warning %q", what, a.Status, a.Body, a.Header.Values("Warning"))
		}
	}
	check("nothing known of the first", []string{"1", "only-second", "single"}, 1)
	first.Script(testserver.FaultNone)
	w.pass(time.Minute)
	w.get(scriptedManifests + "only-first")
	w.get(scriptedManifests + ofFirst.Digest.String())
	first.Script(testserver.FaultRefused)
	check("known of the first", []string{"1", "only-first", "only-second", "single"}, 2)
}

// TestT11_WhatIsTooOld is not listed, as it is not pulled.
func TestT11_WhatIsTooOld(t *testing.T) {
	w, up := newHub(t)
	up.PushManifest(testserver.ScriptedName, up.Image.Manifest, "old", "new")
	w.get(scriptedManifests + "old")
	w.pass(20 * time.Hour)
	w.get(scriptedManifests + "new")
	w.pass(5 * time.Hour)
	up.Script(testserver.FaultRefused)
	if got := tagsIn([]byte(w.get(scriptedTags).Body)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("%v", got)
	}
	w.pass(24 * time.Hour)
	if a := w.get(scriptedTags); a.Status != http.StatusBadGateway {
		t.Errorf("all are too old: %d %s", a.Status, a.Body)
	}
}
