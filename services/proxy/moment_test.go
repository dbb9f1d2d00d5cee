package proxy_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// digestsOf are those of all parts of an image.
func digestsOf(img ocitest.Image) []oci.Digest {
	all := []oci.Digest{img.Index.Digest, img.Manifest.Digest}
	for _, b := range img.Blobs() {
		all = append(all, b.Digest)
	}
	return all
}

// moveOn has the tags moved to another image, and the old one collected.
func moveOn(up *testserver.Scripted, newer ocitest.Image, tags ...string) {
	up.Remove(testserver.ScriptedName, digestsOf(up.Image)...)
	up.Push(testserver.ScriptedName, newer, tags...)
}

// TestT10_APartThatIsGone: the tags that led to it are asked for again at once, whichever
// part of the image it is, and the image that is there now is pulled.
func TestT10_APartThatIsGone(t *testing.T) {
	t.Parallel()
	base := "/v2/" + testserver.ScriptedName
	for name, c := range map[string]struct {
		before int // requests of the pull that are answered before
		code   string
	}{
		"child": {1, "MANIFEST_UNKNOWN"}, "config": {2, "BLOB_UNKNOWN"}, "layer": {3, "BLOB_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, up := newHub(t)
			newer := ocitest.NewImage(70, 1000)
			up.Push(testserver.ScriptedName, up.Image, "also")
			requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			w.get(base + "/manifests/also")
			for _, r := range requests[:c.before] {
				if status, ok := w.fetch(r.path, r.want); !ok {
					t.Fatalf("GET %s: %d", r.path, status)
				}
			}
			moveOn(up, newer, testserver.ScriptedTag, "also")
			up.Forget()
			for range 3 {
				a := w.get(requests[c.before].path)
				if a.Status != http.StatusNotFound || a.Code() != c.code || !strings.Contains(a.Body, `upstream \"hub\" no longer has it`) {
					t.Errorf("GET %s: %d %s", requests[c.before].path, a.Status, a.Body)
				}
			}
			if n := up.Count("", "*"); n != 1 {
				t.Errorf("%d requests for what is gone, want one: %+v", n, up.Requests())
			}
			for _, tag := range []string{testserver.ScriptedTag, "also"} {
				w.wantPull("", testserver.ScriptedName, tag, newer)
			}
			up.Forget()
			w.wantPull("", testserver.ScriptedName, "also", newer)
			if n := up.Count("", "*"); n != 0 {
				t.Errorf("a tag that was settled is asked for again: %+v", up.Requests())
			}
		})
	}
}

// TestT10_AnIndexThatWasNeverWhole: its tag is confirmed once, and remains.
func TestT10_AnIndexThatWasNeverWhole(t *testing.T) {
	w, up := newHub(t)
	up.Remove(testserver.ScriptedName, up.Image.Manifest.Digest)
	base := "/v2/" + testserver.ScriptedName + "/manifests/"
	for range 3 {
		if a := w.get(base + testserver.ScriptedTag); a.Status != http.StatusOK || a.Body != string(up.Image.Index.Bytes) {
			t.Errorf("the index: %d", a.Status)
		}
		if a := w.get(base + up.Image.Manifest.Digest.String()); a.Status != http.StatusNotFound {
			t.Errorf("its child: %d", a.Status)
		}
	}
	if gets, heads := up.Count(http.MethodGet, "*"), up.Count(http.MethodHead, "*"); gets != 2 || heads != 1 {
		t.Errorf("%d GET and %d HEAD, want one of the tag and of the child, and one to confirm", gets, heads)
	}
	up.PushManifest(testserver.ScriptedName, up.Image.Manifest)
	w.pass(time.Minute)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
}

// TestT10_WhatIsPushedAgain is not missing for as long as its absence was remembered.
func TestT10_WhatIsPushedAgain(t *testing.T) {
	w, up := newHub(t)
	late := ocitest.NewImage(71, 1000)
	path := "/v2/" + testserver.ScriptedName + "/manifests/" + late.Manifest.Digest.String()
	if a := w.get(path); a.Status != http.StatusNotFound {
		t.Fatal(a.Status)
	}
	up.Push(testserver.ScriptedName, late, "late")
	w.wantPull("", testserver.ScriptedName, "late", late)
}

// TestT10_InAnOutage the doubted tag is answered as any that is stale.
func TestT10_InAnOutage(t *testing.T) {
	w, up := newHub(t)
	base := "/v2/" + testserver.ScriptedName + "/manifests/"
	w.get(base + testserver.ScriptedTag)
	moveOn(up, ocitest.NewImage(70, 1000), testserver.ScriptedTag)
	w.get(base + up.Image.Manifest.Digest.String())
	up.Script(testserver.FaultRefused)
	if a := w.get(base + testserver.ScriptedTag); a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("Warning"), "110 ") {
		t.Errorf("%d, Warning %q", a.Status, a.Header.Get("Warning"))
	}
}

// TestT10_AnotherMemberHasIt: the child is the same wherever it is from, and the tag of
// the first member is doubted nevertheless.
func TestT10_AnotherMemberHasIt(t *testing.T) {
	w := newWorld(t)
	first, second := testserver.StartScripted(t), testserver.StartScripted(t)
	w.upstream("first", first.URL(), nil)
	w.upstream("second", second.URL(), nil)
	w.chain(meta.Member{Upstream: "first"}, meta.Member{Upstream: "second"})
	newer := ocitest.NewImage(70, 1000)
	index := "/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag
	w.get(index)
	moveOn(first, newer, testserver.ScriptedTag)
	r := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, first.Image)[1]
	if status, ok := w.fetch(r.path, r.want); !ok {
		t.Errorf("the child: %d", status)
	}
	if a := w.get(index); a.Body != string(newer.Index.Bytes) {
		t.Errorf("the tag after it moved: %d", a.Status)
	}
	second.Script(testserver.FaultRefused)
	other := ocitest.NewImage(72, 1000)
	first.PushManifest(testserver.ScriptedName, other.Index, "other")
	w.get("/v2/" + testserver.ScriptedName + "/manifests/other")
	if a := w.get("/v2/" + testserver.ScriptedName + "/manifests/" + other.Manifest.Digest.String()); a.Status != http.StatusBadGateway {
		t.Errorf("a child that the second may have, which is out: %d", a.Status)
	}
}

// TestT10_ManyClientsOfThreeNodes ask for what is gone, and then for the tag: each node
// asks for the part once, and the tag is settled once for all.
func TestT10_ManyClientsOfThreeNodes(t *testing.T) {
	w, up, _ := oneUpstream(t)
	leases, calls := lease.NewMemory(), access.NewInternal("0123456789abcdef0123456789abcdef")
	const nodes = 3
	for range nodes {
		w.node(leases, calls)
	}
	newer := ocitest.NewImage(70, 1000)
	base := "/v2/" + testserver.ScriptedName + "/manifests/"
	ask := func(path string, i int) fronttest.Answer {
		return w.Do(fronttest.Request{Host: w.dev.Host, Path: path, Header: fronttest.Headers(nodeHeader, strconv.Itoa(1+i%nodes))})
	}
	ask(base+testserver.ScriptedTag, 0)
	moveOn(up, newer, testserver.ScriptedTag)
	up.Forget()
	up.SetLatency(20 * time.Millisecond)
	together(90, func(i int) {
		if a := ask(base+up.Image.Manifest.Digest.String(), i); a.Status != http.StatusNotFound {
			t.Errorf("the child: %d", a.Status)
		}
	})
	if n := up.Count("", "*"); n > nodes {
		t.Errorf("%d requests for the child by %d nodes", n, nodes)
	}
	up.Forget()
	together(90, func(i int) {
		if a := ask(base+testserver.ScriptedTag, i); a.Body != string(newer.Index.Bytes) {
			t.Errorf("the tag: %d", a.Status)
		}
	})
	if n := up.Count("", "*"); n != 2 { // HEAD, and GET of what is new
		t.Errorf("%d requests for the tag: %+v", n, up.Requests())
	}
}
