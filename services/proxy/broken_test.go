package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// open sends a GET whose answer is read by the caller, until ctx ends.
func (w *world) open(ctx context.Context, path string, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Server.URL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Host, r.Header = w.dev.Host, fronttest.Headers(header...)
	return w.Server.Client().Transport.RoundTrip(r)
}

// TestR39_ABlobThatBreaksOff has the upstream stall, or end, at offsets of a layer: it is
// asked again, and the client does not notice.
func TestR39_ABlobThatBreaksOff(t *testing.T) {
	t.Parallel()
	play := rand.New(rand.NewPCG(dice.Seed(t), 39))
	for i := range dice.Count(t, 12, 25) {
		f := []testserver.Fault{testserver.FaultStallInBody, testserver.CorruptCut, testserver.FaultTruncated}[i%3]
		at := 1 + play.Int64N(200_000)
		t.Run(fmt.Sprintf("%s at %d", f, at), func(t *testing.T) {
			t.Parallel()
			w, up, cache, layer := breaking(t)
			up.Play(testserver.Script{Fault: f, On: []testserver.Part{testserver.PartBlobs}, At: at, Times: 1})
			if status, ok := w.fetch(layer.path, layer.want); !ok {
				t.Fatal(status)
			}
			await.True(w.t, time.Minute, "the blob is kept", func() bool {
				_, err := w.Meta.FindBlob(t.Context(), cache, layer.want.Digest)
				return err == nil
			})
		})
	}
}

// TestR39_ABlobThatAlwaysBreaksOff: the upstream sends no more than a part of a layer,
// whatever it is asked for.
func TestR39_ABlobThatAlwaysBreaksOff(t *testing.T) {
	t.Parallel()
	play := rand.New(rand.NewPCG(dice.Seed(t), 39))
	for i := range dice.Count(t, 12, 25) {
		stalls, at := i%2 == 0, 1+play.Int64N(1000)
		if !stalls {
			at += 120_000
		}
		t.Run(fmt.Sprintf("stalls: %v, at %d", stalls, at), func(t *testing.T) {
			t.Parallel()
			w, up, cache, layer := breaking(t)
			if stalls {
				up.Play(testserver.Script{Fault: testserver.FaultStallInBody, On: []testserver.Part{testserver.PartBlobs}, At: at})
			} else {
				up.Script(testserver.FaultRangeIgnored)
				up.CutBlobs(at, 0)
			}
			if status, ok := w.fetch(layer.path, layer.want); ok || status != 0 && status != http.StatusOK && status < 500 {
				t.Fatalf("%d, whole: %v", status, ok)
			}
			if _, err := w.Meta.FindBlob(t.Context(), cache, layer.want.Digest); fault.KindOf(err) != fault.NotFound {
				t.Errorf("the blob is kept: %v", err)
			}
			up.Script(testserver.FaultNone)
			up.CutBlobs(0, 0)
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		})
	}
}

// patience is longer than a busy machine lets this process stand still.
const patience = 3 * time.Second

// breaking is an impatient world with an upstream, its cache, and a layer whose manifest is
// cached.
func breaking(t *testing.T) (*world, *testserver.Scripted, meta.Repo, request) {
	t.Helper()
	w := newWorldWith(t, patience)
	up := testserver.StartScripted(t)
	cache := meta.Repo{Tenant: w.dev.Tenant, Registry: w.upstream("hub", up.URL(), nil).Cache, Name: testserver.ScriptedName}
	w.chain(meta.Member{Upstream: "hub"})
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	for _, r := range requests[:2] {
		if status, ok := w.fetch(r.path, r.want); !ok {
			t.Fatalf("GET %s: %d", r.path, status)
		}
	}
	return w, up, cache, requests[len(requests)-1]
}

func TestR41_RedirectsThatLeadNowhere(t *testing.T) {
	for _, f := range []testserver.Fault{testserver.FaultRedirectLoop, testserver.FaultRedirectDead} {
		w, up := newHub(t)
		for _, on := range []testserver.Part{testserver.PartManifests, testserver.PartBlobs} {
			up.Script(f, on)
			path := "/v2/" + testserver.ScriptedName + "/" + string(on) + "/" + up.Image.Config.Digest.String()
			if on == testserver.PartManifests {
				path = "/v2/" + testserver.ScriptedName + "/manifests/" + testserver.ScriptedTag
			}
			begin := time.Now()
			if a := w.get(path); a.Status != http.StatusBadGateway || time.Since(begin) > 10*time.Second {
				t.Errorf("%s on %s: %d after %v", f, on, a.Status, time.Since(begin))
			}
		}
	}
}

// TestR43_TheFirstClientLeaves reads a part of the blob, while others read all of
// it.
func TestR43_TheFirstClientLeaves(t *testing.T) {
	play := rand.New(rand.NewPCG(dice.Seed(t), 43))
	w := newWorld(t)
	up := testserver.StartScripted(t)
	cache := meta.Repo{Tenant: w.dev.Tenant, Registry: w.upstream("hub", up.URL(), nil).Cache, Name: "library/big"}
	w.chain(meta.Member{Upstream: "hub"})
	up.SetLatency(50 * time.Millisecond) // for all to come before the first byte
	const size = 1 << 20
	for i := range 20 {
		img := ocitest.NewImage(uint64(4300+i), size)
		up.Push("library/big", img, "1")
		blob := img.Layers[0]
		path := "/v2/library/big/blobs/" + blob.Digest.String()
		ctx, leave := context.WithCancel(t.Context())
		first := make(chan struct{})
		offset := play.Int64N(size)
		go func() {
			defer close(first)
			defer leave()
			if resp, err := w.open(ctx, path); err == nil {
				_, _ = io.CopyN(io.Discard, resp.Body, offset) // leaving is all that matters
				leave()
				_ = resp.Body.Close()
			}
		}()
		together(4, func(int) {
			a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: path})
			if err != nil || a.Status != http.StatusOK || a.Body != string(blob.Bytes) {
				t.Errorf("the first left at %d: another got %d, %d bytes, %v", offset, a.Status, len(a.Body), err)
			}
		})
		<-first
		await.True(w.t, time.Minute, "the blob is kept", func() bool {
			_, err := w.Meta.FindBlob(t.Context(), cache, blob.Digest)
			return err == nil
		})
		if n := up.Count(http.MethodGet, path); n != 1 {
			t.Errorf("the upstream was asked %d times", n)
		}
	}
}

// TestR43_AFetchGoesOnWithoutClients has the only client leave.
func TestR43_AFetchGoesOnWithoutClients(t *testing.T) {
	w := newWorld(t)
	up := testserver.StartScripted(t)
	cache := meta.Repo{Tenant: w.dev.Tenant, Registry: w.upstream("hub", up.URL(), nil).Cache, Name: testserver.ScriptedName}
	w.chain(meta.Member{Upstream: "hub"})
	for _, r := range requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image) {
		ctx, leave := context.WithCancel(t.Context())
		resp, err := w.open(ctx, r.path)
		if err != nil {
			t.Fatal(err)
		}
		leave()
		_ = resp.Body.Close() // it was left
	}
	w.wantEverything(cache, up.Image)
}
