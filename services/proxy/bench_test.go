package proxy_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// warm is a world in which the image is kept of an upstream, and hosted in prod
// under another name.
func warm(b *testing.B, img ocitest.Image) *world {
	b.Helper()
	w := newWorld(b)
	up := testserver.StartScripted(b)
	up.Push(testserver.ScriptedName, img, testserver.ScriptedTag)
	u := w.upstream("hub", up.URL(), nil)
	w.chain(meta.Member{Registry: "prod"}, meta.Member{Upstream: "hub"})
	w.push(w.prod, "hosted/app", testserver.ScriptedTag, img)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, img)
	w.wantEverything(meta.Repo{Tenant: w.dev.Tenant, Registry: u.Cache, Name: testserver.ScriptedName}, img)
	b.Cleanup(func() {
		if n := up.Count(http.MethodGet, "/v2/"+testserver.ScriptedName+"/blobs/*"); n > len(img.Blobs()) {
			b.Errorf("%d requests for blobs that are kept", n)
		}
	})
	return w
}

// names are what is kept, and what is hosted.
var names = map[string]string{"cached": testserver.ScriptedName, "hosted": "hosted/app"}

func BenchmarkWarmManifest(b *testing.B) {
	w := warm(b, ocitest.NewImage(1, 1000))
	for kind, name := range names {
		for of, reference := range map[string]string{"tag": testserver.ScriptedTag, "digest": ocitest.NewImage(1, 1000).Manifest.Digest.String()} {
			b.Run(kind+" by "+of, func(b *testing.B) {
				for b.Loop() {
					if a := w.get("/v2/" + name + "/manifests/" + reference); a.Status != http.StatusOK {
						b.Fatal(a.Status)
					}
				}
			})
		}
	}
}

func BenchmarkWarmBlob(b *testing.B) {
	img := ocitest.NewImage(1, 64<<20)
	w := warm(b, img)
	for kind, name := range names {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(int64(len(img.Layers[0].Bytes)))
			for b.Loop() {
				resp, err := w.open(b.Context(), "/v2/"+name+"/blobs/"+img.Layers[0].Digest.String())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close() // it was read to its end
			}
		})
	}
}

// BenchmarkColdFirstByte compares the first byte of a blob that is fetched with
// that of the upstream, which takes as long to answer as one that is near.
func BenchmarkColdFirstByte(b *testing.B) {
	const latency = 20 * time.Millisecond
	w, up := newHub(b)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.SetLatency(latency)
	first := func(resp *http.Response, err error) {
		b.Helper()
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close() // it was read to its end
		b.StartTimer()
	}
	seed := uint64(0)
	next := func() string {
		b.StopTimer()
		defer b.StartTimer()
		seed++
		blob := ocitest.NewImage(seed, 256<<10).Layers[0]
		up.PushBlob(testserver.ScriptedName, blob)
		return "/v2/" + testserver.ScriptedName + "/blobs/" + blob.Digest.String()
	}
	b.Run("upstream", func(b *testing.B) {
		for range b.N {
			path := next()
			first(http.Get(up.URL() + path))
		}
	})
	b.Run("proxy", func(b *testing.B) {
		for range b.N {
			path := next()
			first(w.open(b.Context(), path))
		}
	})
}
