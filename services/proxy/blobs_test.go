package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// oneUpstream is a world in which dev has one upstream, with what is kept of
// testserver.ScriptedName.
func oneUpstream(t testing.TB) (*world, *testserver.Scripted, meta.Repo) {
	t.Helper()
	w := newWorld(t)
	up := testserver.StartScripted(t)
	u := w.upstream("hub", up.URL(), nil)
	w.chain(meta.Member{Upstream: "hub"})
	return w, up, meta.Repo{Tenant: w.dev.Tenant, Registry: u.Cache, Name: testserver.ScriptedName}
}

func TestHead_AnswersWithoutTheContent(t *testing.T) {
	w, up, _ := oneUpstream(t)
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for i, r := range requests {
		a := w.head(r.path)
		if size := strconv.Itoa(len(r.want.Bytes)); a.Status != http.StatusOK || a.Header.Get("Content-Length") != size || a.Header.Get("Docker-Content-Digest") != r.want.Digest.String() {
			t.Errorf("HEAD %s: %d %v, want %s bytes", r.path, a.Status, a.Header, size)
		}
		if i == 1 {
			if gets, all := up.Count(http.MethodGet, "*"), up.Count("", "*"); gets != 2 || all != 2 {
				t.Errorf("HEAD of two manifests: %d GET in %d requests, want one GET each", gets, all)
			}
		}
	}
	if n := up.Count("", "/v2/"+testserver.ScriptedName+"/blobs/*"); n != 0 {
		t.Errorf("HEAD of blobs that the manifest names: %d requests", n)
	}
	up.Forget()
	unnamed := ocitest.NewImage(90, 1234).Layers[0]
	up.PushBlob(testserver.ScriptedName, unnamed)
	path := "/v2/" + testserver.ScriptedName + "/blobs/"
	if a := w.head(path + unnamed.Digest.String()); a.Status != http.StatusOK || a.Header.Get("Content-Length") != strconv.Itoa(len(unnamed.Bytes)) {
		t.Errorf("HEAD of a blob that no manifest names: %d %v", a.Status, a.Header)
	}
	nowhere := ocitest.NewImage(91, 1).Config
	for range 2 {
		if a := w.head(path + nowhere.Digest.String()); a.Status != http.StatusNotFound {
			t.Errorf("HEAD of a blob that is nowhere: %d", a.Status)
		}
	}
	if heads, all := up.Count(http.MethodHead, "*"), up.Count("", "*"); heads != 2 || all != 2 {
		t.Errorf("%d HEAD in %d requests, want 2", heads, all)
	}
	up.PushBlob(testserver.ScriptedName, nowhere)
	if a := w.get(path + nowhere.Digest.String()); a.Status != http.StatusOK {
		t.Errorf("a blob that a HEAD did not find: %d, although no one wanted it until now", a.Status)
	}
}

// TestE6_ARangeWaitsForTheDigest asks for parts of blobs that are in flight.
func TestE6_ARangeWaitsForTheDigest(t *testing.T) {
	w, up, _ := oneUpstream(t)
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range requests[:2] {
		w.fetch(r.path, r.want)
	}
	layer := requests[len(requests)-1]
	part := func(r string) fronttest.Request {
		return fronttest.Request{Host: w.dev.Host, Path: layer.path, Header: fronttest.Headers("Range", r)}
	}
	up.Script(testserver.CorruptLastByte, testserver.PartBlobs)
	for _, r := range []string{"bytes=0-9", "bytes=100-199", "bytes=-5", "bytes=0-", "bytes=100-", fmt.Sprintf("bytes=%d-", len(layer.want.Bytes)-1)} {
		if a, err := w.Send(part(r)); err == nil && a.Status < 500 {
			t.Errorf("%s of a corrupt blob: %d, %d bytes", r, a.Status, len(a.Body))
		}
	}
	up.Script(testserver.FaultNone)
	up.Forget()
	size := len(layer.want.Bytes)
	for r, want := range map[string]string{
		"bytes=0-9":     string(layer.want.Bytes[:10]),
		"bytes=100-199": string(layer.want.Bytes[100:200]),
		"bytes=-5":      string(layer.want.Bytes[size-5:]),
		"bytes=100-":    string(layer.want.Bytes[100:]),
	} {
		a := w.Do(part(r))
		if a.Status != http.StatusPartialContent || a.Body != want || !strings.HasSuffix(a.Header.Get("Content-Range"), "/"+strconv.Itoa(size)) {
			t.Errorf("%s: %d %q, %d bytes", r, a.Status, a.Header.Get("Content-Range"), len(a.Body))
		}
	}
	if a := w.Do(part(fmt.Sprintf("bytes=%d-", size))); a.Status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("beyond the end: %d", a.Status)
	}
	if n := up.Count("", "*"); n != 1 {
		t.Errorf("%d requests for parts of one blob", n)
	}
}

// TestStream_WholeBlobsBeginBeforeTheirEnd has the upstream stall in the middle:
// what came is there, also for a client that continues with what broke off.
func TestStream_WholeBlobsBeginBeforeTheirEnd(t *testing.T) {
	w, up, _ := oneUpstream(t)
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range requests[:2] {
		w.fetch(r.path, r.want)
	}
	layer := requests[len(requests)-1]
	up.Play(testserver.Script{Fault: testserver.FaultStallInBody, On: []testserver.Part{testserver.PartBlobs}, At: 100_000, Times: 1})
	resp, err := w.open(t.Context(), layer.path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	begin := make([]byte, 100_000)
	if n, err := io.ReadFull(resp.Body, begin); err != nil || string(begin) != string(layer.want.Bytes[:n]) {
		t.Fatalf("%d bytes came while the upstream stalled: %v", n, err)
	}
	const from = 40_000
	goesOn, err := w.open(t.Context(), layer.path, "Range", fmt.Sprintf("bytes=%d-", from))
	if err != nil {
		t.Fatal(err)
	}
	defer goesOn.Body.Close()
	part := make([]byte, len(begin)-from)
	if n, err := io.ReadFull(goesOn.Body, part); err != nil || goesOn.StatusCode != http.StatusPartialContent || string(part) != string(begin[from:]) {
		t.Fatalf("%d, then %d bytes came while the upstream stalled: %v", goesOn.StatusCode, n, err)
	}
	if n := up.Count(http.MethodGet, layer.path); n != 1 {
		t.Errorf("the rest came after %d requests, want the first to be in flight", n)
	}
	up.Stop() // the connection breaks, and the blob is fetched again
	up.Start()
	for _, r := range []*http.Response{resp, goesOn} {
		rest, err := io.ReadAll(r.Body)
		if err != nil || string(rest) != string(layer.want.Bytes[len(begin):]) {
			t.Errorf("then %d bytes: %v", len(rest), err)
		}
	}
}

// TestLink_WhatTheTenantHasIsNotStoredAgain has a blob in prod under another name.
func TestLink_WhatTheTenantHasIsNotStoredAgain(t *testing.T) {
	w, up, cache := oneUpstream(t)
	layer := up.Image.Layers[1]
	stored := w.PutBlob(fronttest.Repo(w.prod, "team/other"), layer.Bytes)
	path := "/v2/" + testserver.ScriptedName + "/blobs/" + layer.Digest.String()
	if status, ok := w.fetch(path, layer); !ok {
		t.Fatal(status)
	}
	if heads, gets := up.Count(http.MethodHead, path), up.Count(http.MethodGet, path); heads != 0 || gets != 1 {
		t.Errorf("%d HEAD and %d GET, want one GET", heads, gets)
	}
	await.True(w.t, time.Minute, "it is linked", func() bool {
		b, err := w.Meta.FindBlob(t.Context(), cache, layer.Digest)
		return err == nil && b.Key == stored.Key
	})
	// What the upstream has sent it need not send again under another name.
	up.PushBlob("library/second", layer)
	up.Forget()
	second := "/v2/library/second/blobs/" + layer.Digest.String()
	if status, ok := w.fetch(second, layer); !ok {
		t.Fatal(status)
	}
	if heads, gets := up.Count(http.MethodHead, second), up.Count(http.MethodGet, "*"); heads != 1 || gets != 0 {
		t.Errorf("%d HEAD and %d GET of what it has sent, want one HEAD", heads, gets)
	}
	// One that the upstream does not have is not given away.
	secret := ocitest.NewImage(92, 500).Layers[0]
	w.PutBlob(fronttest.Repo(w.prod, "team/secret"), secret.Bytes)
	path = "/v2/" + testserver.ScriptedName + "/blobs/" + secret.Digest.String()
	for _, a := range []fronttest.Answer{w.get(path), w.head(path)} {
		if a.Status != http.StatusNotFound {
			t.Errorf("a blob that the upstream does not have: %d", a.Status)
		}
	}
	if _, err := w.Meta.FindBlob(t.Context(), cache, secret.Digest); fault.KindOf(err) != fault.NotFound {
		t.Errorf("it is linked: %v", err)
	}
	up.Script(testserver.FaultRefused)
	if a := w.get("/v2/library/third/blobs/" + secret.Digest.String()); a.Status < 500 {
		t.Errorf("in an outage: %d", a.Status)
	}
}

// TestQuota_WhatDoesNotFitIsPassedThrough has a tenant with room for less than
// the image.
func TestQuota_WhatDoesNotFitIsPassedThrough(t *testing.T) {
	w, up, cache := oneUpstream(t)
	tn, err := w.Meta.FindTenant(t.Context(), w.dev.TenantSlug)
	if err != nil {
		t.Fatal(err)
	}
	tn.Quota = 100_000
	if _, err := w.Meta.UpdateTenant(t.Context(), fronttest.By(), tn); err != nil {
		t.Fatal(err)
	}
	layer := up.Image.Layers[1]
	path := "/v2/" + testserver.ScriptedName + "/blobs/" + layer.Digest.String()
	for i := range 3 {
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		await.True(w.t, time.Minute, "the fetch has ended, and the blob is asked for again", func() bool {
			w.fetch(path, layer)
			return up.Count(http.MethodGet, path) > i+1
		})
	}
	if _, err := w.Meta.FindBlob(t.Context(), cache, layer.Digest); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the blob is kept: %v", err)
	}
	for _, b := range up.Image.Blobs()[:2] {
		if _, err := w.Meta.FindBlob(t.Context(), cache, b.Digest); err != nil {
			t.Errorf("a blob that fits: %v", err)
		}
	}
}

// TestLost_ABlobWhoseBytesAreGoneIsFetchedAgain removes, and then shortens, what
// is stored.
func TestLost_ABlobWhoseBytesAreGoneIsFetchedAgain(t *testing.T) {
	for what, damage := range map[string]func(string) error{
		"removed":   os.Remove,
		"shortened": func(path string) error { return os.Truncate(path, 5) },
	} {
		t.Run(what, func(t *testing.T) {
			w, up, cache := oneUpstream(t)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			w.wantEverything(cache, up.Image)
			layer := up.Image.Layers[1]
			b, err := w.Meta.FindBlob(t.Context(), cache, layer.Digest)
			if err != nil {
				t.Fatal(err)
			}
			damaged := 0
			err = filepath.WalkDir(w.Dir, func(path string, e os.DirEntry, err error) error {
				if info, _ := e.Info(); err == nil && !e.IsDir() && info.Size() == b.Size {
					damaged++
					return damage(path)
				}
				return err
			})
			if err != nil || damaged != 1 {
				t.Fatalf("%d files of %d bytes: %v", damaged, b.Size, err)
			}
			up.Forget()
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			if n := up.Count(http.MethodGet, "*"); n != 1 {
				t.Errorf("%d GET to heal one blob", n)
			}
			await.True(w.t, time.Minute, "it is stored again", func() bool {
				b, err := w.Meta.FindBlob(t.Context(), cache, layer.Digest)
				if err != nil {
					return false
				}
				c, err := w.Blobs.Open(t.Context(), b.Key)
				if err != nil {
					return false
				}
				defer c.Close()
				return c.Size() == b.Size
			})
			up.Forget()
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			if n := up.Connections(); n != 0 {
				t.Errorf("%d requests after it was healed", n)
			}
		})
	}
}
