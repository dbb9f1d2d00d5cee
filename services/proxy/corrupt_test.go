package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestE6_CorruptContentIsNeverKept plays all corruptions on each request of a
// pull. What comes before it comes right.
func TestE6_CorruptContentIsNeverKept(t *testing.T) {
	t.Parallel()
	for _, f := range testserver.Corruptions() {
		for i, what := range []string{"manifest by tag", "manifest by digest", "config", "layer"} {
			t.Run(fmt.Sprintf("%s, %s", f, what), func(t *testing.T) {
				t.Parallel()
				corruptAt(t, f, i)
			})
		}
	}
}

func corruptAt(t *testing.T, f testserver.Fault, at int) {
	w := newWorldWith(t, impatient)
	up := testserver.StartScripted(t)
	cache := meta.Repo{Tenant: w.dev.Tenant, Registry: w.upstream("hub", up.URL(), nil).Cache, Name: testserver.ScriptedName}
	w.chain(meta.Member{Upstream: "hub"})
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range requests[:at] {
		if status, ok := w.fetch(r.path, r.want); !ok {
			t.Fatalf("GET %s: %d", r.path, status)
		}
	}
	bad := requests[at]
	up.Script(f)
	a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: bad.path})
	switch {
	case err != nil: // it broke off
	case a.Status == http.StatusOK:
		t.Errorf("a complete answer of %d bytes, that are right: %v", len(a.Body), a.Body == string(bad.want.Bytes))
	case a.Status != http.StatusBadGateway && a.Status != http.StatusGatewayTimeout && a.Status != http.StatusServiceUnavailable:
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w.wantNothing(cache, bad.want.Digest)

	up.Script(testserver.FaultNone)
	up.Forget()
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	if up.Count(http.MethodGet, "*") == 0 {
		t.Error("the next pull was not fetched")
	}
	w.wantEverything(cache, up.Image)
}

// wantNothing expects that nothing is kept by the digest.
func (w *world) wantNothing(cache meta.Repo, d oci.Digest) {
	w.t.Helper()
	if m, err := w.Meta.FindManifest(w.t.Context(), cache, oci.Reference{Digest: d}); fault.KindOf(err) != fault.NotFound {
		w.t.Errorf("the manifest is kept: %v, %v", m.Digest, err)
	}
	if b, err := w.Meta.FindBlob(w.t.Context(), cache, d); fault.KindOf(err) != fault.NotFound {
		w.t.Errorf("the blob is kept: %v, %v", b.Digest, err)
	}
}

// wantEverything expects the image to be kept as soon as what is in flight has
// arrived.
func (w *world) wantEverything(cache meta.Repo, img ocitest.Image) {
	w.t.Helper()
	for _, m := range []ocitest.Content{img.Index, img.Manifest} {
		if _, err := w.Meta.FindManifest(w.t.Context(), cache, oci.Reference{Digest: m.Digest}); err != nil {
			w.t.Errorf("manifest %s: %v", m.Digest, err)
		}
	}
	for _, b := range img.Blobs() {
		await.True(w.t, time.Minute, "blob "+b.Digest.String()+" is kept", func() bool {
			_, err := w.Meta.FindBlob(w.t.Context(), cache, b.Digest)
			return err == nil
		})
	}
}

// TestE7_LyingDigestHeader expects neither of the two digests to be believed.
func TestE7_LyingDigestHeader(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	cache := meta.Repo{Tenant: w.dev.Tenant, Registry: w.upstream("hub", up.URL(), nil).Cache, Name: testserver.ScriptedName}
	w.chain(meta.Member{Upstream: "hub"})
	path := "/v2/" + testserver.ScriptedName + "/manifests/"
	lie := func(when string) {
		t.Helper()
		up.Script(testserver.FaultLyingDigest)
		if a := w.get(path + testserver.ScriptedSingleTag); a.Status != http.StatusBadGateway {
			t.Errorf("%s: %d %s", when, a.Status, a.Body)
		}
		up.Script(testserver.FaultNone)
	}
	lie("never asked before")
	if _, err := w.Meta.FindCachedTag(t.Context(), cache, testserver.ScriptedSingleTag); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the tag is kept: %v", err)
	}
	if status, ok := w.fetch(path+testserver.ScriptedSingleTag, up.Image.Manifest); !ok {
		t.Fatal(status)
	}
	w.pass(tagTTL)
	up.Script(testserver.FaultLyingDigest)
	a := w.get(path + testserver.ScriptedSingleTag) // the HEAD lies, and so does the GET: what was said last
	if a.Status != http.StatusOK || a.Body != string(up.Image.Manifest.Bytes) || a.Header.Get("Warning") == "" {
		t.Errorf("with the tag kept: %d, Warning %q", a.Status, a.Header.Get("Warning"))
	}
	kept, err := w.Meta.FindCachedTag(t.Context(), cache, testserver.ScriptedSingleTag)
	if err != nil || kept.Manifest.Digest != up.Image.Manifest.Digest {
		t.Errorf("the tag is %v now: %v", kept.Manifest.Digest, err)
	}
}
