package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestS70_AClaimIsNoProof has an upstream say that it has a blob which only prod
// has: to HEAD, by a manifest, and by answers to GET that are not the blob.
func TestS70_AClaimIsNoProof(t *testing.T) {
	t.Parallel()
	for _, f := range append([]testserver.Fault{testserver.FaultNone, testserver.FaultEmptyBody, testserver.FaultRedirect404}, testserver.Corruptions()...) {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, impatient)
			up := testserver.StartScripted(t)
			u := w.upstream("evil", up.URL(), nil)
			w.chain(meta.Member{Upstream: "evil"})
			secret := ocitest.NewImage(93, 100_000).Layers[0]
			w.PutBlob(fronttest.Repo(w.prod, "team/secret"), secret.Bytes)

			lie := ocitest.Manifest(up.Image.Config, secret) // names what only prod has
			names := []string{testserver.ScriptedName, "library/second"}
			for _, name := range names {
				up.PushManifest(name, lie, "lie")
				if f == testserver.FaultNone {
					up.ClaimBlob(name, secret.Digest, len(secret.Bytes))
				} else {
					up.PushBlob(name, secret) // each answer with it is spoilt
				}
			}
			up.Script(f, testserver.PartBlobs)
			for _, name := range names {
				if a := w.get("/v2/" + name + "/manifests/lie"); a.Status != http.StatusOK {
					t.Fatal(a.Status)
				}
			}
			together(12, func(i int) {
				path := fmt.Sprintf("/v2/%s%s/blobs/%s", []string{"", "proxy/evil/"}[i/2%2], names[i%2], secret.Digest)
				w.head(path)
				r := fronttest.Request{Host: w.dev.Host, Path: path}
				if i%3 == 0 {
					r.Header = fronttest.Headers("Range", "bytes=0-99")
				}
				if a, err := w.Send(r); err == nil && a.Status/100 == 2 {
					t.Errorf("GET %s: %d with %d bytes, those of the secret: %t", path, a.Status, len(a.Body), strings.Contains(string(secret.Bytes), a.Body))
				}
			})
			await.True(w.t, time.Minute, "all fetches end", func() bool { return w.fetches.Running() == 0 })
			var caches []meta.Repo
			for _, name := range names {
				cache := meta.Repo{Tenant: w.dev.Tenant, Registry: u.Cache, Name: name}
				caches = append(caches, cache)
				if _, err := w.Meta.FindBlob(t.Context(), cache, secret.Digest); fault.KindOf(err) != fault.NotFound {
					t.Errorf("%s: it is linked: %v", name, err)
				}
			}
			missing, err := w.Meta.AdoptBlobs(t.Context(), fronttest.By(), caches, fronttest.Repo(w.dev, names[0]), []oci.Digest{secret.Digest})
			if err != nil || len(missing) != 1 {
				t.Errorf("a push adopts it: %v missing, %v", missing, err)
			}
		})
	}
}

// TestS71_SentOnceAndStoredOnce pulls an image all of which prod has, from three
// nodes at a time: the upstream sends each blob once, and none is stored again.
func TestS71_SentOnceAndStoredOnce(t *testing.T) {
	w, up, cache := oneUpstream(t)
	stored := map[oci.Digest]meta.Blob{}
	for _, b := range up.Image.Blobs() {
		stored[b.Digest] = w.PutBlob(fronttest.Repo(w.prod, "team/mine"), b.Bytes)
	}
	leases, calls := lease.NewMemory(), access.NewInternal("0123456789abcdef0123456789abcdef")
	for range 3 {
		w.node(leases, calls)
	}
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	together(24, func(i int) {
		for _, r := range requests {
			a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: r.path, Header: fronttest.Headers(nodeHeader, fmt.Sprint(1+i%3))})
			if err != nil || a.Status != http.StatusOK || a.Body != string(r.want.Bytes) {
				t.Errorf("GET %s: %d, %v", r.path, a.Status, err)
			}
		}
	})
	for d, was := range stored {
		await.True(w.t, time.Minute, "it is linked", func() bool {
			b, err := w.Meta.FindBlob(t.Context(), cache, d)
			return err == nil && b.Key == was.Key
		})
		if n := up.Count(http.MethodGet, "/v2/"+testserver.ScriptedName+"/blobs/"+d.String()); n != 1 {
			t.Errorf("%s was fetched %d times", d, n)
		}
	}
}
