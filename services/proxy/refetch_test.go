package proxy_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestW78_DamagedCachedContentIsFetchedAgain by the next pull, whatever is wrong with it, and not
// answered from the store before.
func TestW78_DamagedCachedContentIsFetchedAgain(t *testing.T) {
	w, up, kept := oneUpstream(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	layer := up.Image.Layers[0]
	was := w.stored(t, kept, layer.Digest)
	for _, damage := range []meta.Damage{meta.Rotten, meta.Lost} {
		news, err := w.Meta.ReportDamage(t.Context(), fronttest.By(), meta.Damaged{Blob: was, Damage: damage})
		if err != nil || !news {
			t.Fatal(news, err)
		}
		up.Forget()
		w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
		if n := up.Count(http.MethodGet, "/v2/"+testserver.ScriptedName+"/blobs/"+layer.Digest.String()); n != 1 {
			t.Errorf("%s: fetched %d times", damage, n)
		}
		was = w.replaced(t, kept, was)
	}
}

// TestW79_TheScrubHasAnUpstreamGiveAgain what its cache has, as for a pull, and not what it no
// longer offers.
func TestW79_TheScrubHasAnUpstreamGiveAgain(t *testing.T) {
	w, up, kept := oneUpstream(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	layer := up.Image.Layers[0]
	was := w.stored(t, kept, layer.Digest)
	if _, err := w.Meta.ReportDamage(t.Context(), fronttest.By(), meta.Damaged{Blob: was, Damage: meta.Rotten}); err != nil {
		t.Fatal(err)
	}
	from := meta.CachedCopy{Tenant: kept.Tenant, TenantSlug: w.dev.TenantSlug, Upstream: "hub", Repository: kept.Name}
	content, err := w.proxy.FetchBlob(t.Context(), from, layer.Digest, was.Size)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(content)
	if err != nil || string(got) != string(layer.Bytes) || content.Close() != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	w.replaced(t, kept, was)
	from.Upstream = "gone"
	if _, err := w.proxy.FetchBlob(t.Context(), from, layer.Digest, was.Size); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an upstream that is gone: %v", err)
	}
}

// stored waits until the blob is stored.
func (w *world) stored(t *testing.T, r meta.Repo, d oci.Digest) meta.Blob {
	t.Helper()
	return w.replaced(t, r, meta.Blob{Digest: d})
}

// replaced waits until the blob is stored at another place.
func (w *world) replaced(t *testing.T, r meta.Repo, was meta.Blob) meta.Blob {
	t.Helper()
	var now meta.Blob
	await.True(t, time.Minute, "the blob is stored", func() bool {
		var err error
		now, err = w.Meta.FindBlob(t.Context(), r, was.Digest)
		return err == nil && now.Key != was.Key && !now.Suspect
	})
	return now
}
