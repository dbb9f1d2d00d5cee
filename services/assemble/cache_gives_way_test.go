package assemble_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/berth-registry/berth/tools/testserver"
)

// TestS43_PushesWinOverTheCache fills a quota with what an upstream gave; the
// owner's push is taken, what is cached is still served, and more of the upstream
// is passed through.
func TestS43_PushesWinOverTheCache(t *testing.T) {
	up := testserver.StartScripted(t)
	w := startEmbedded(t, stampedeSeed(up.URL()), chained)
	cached := w.anybody(t, w.nodes...)[0]
	cached.wantImage(t, testserver.ScriptedTag, up.Image)

	usage := func() (int64, int64, int64) {
		var used, overhead, kept int64
		var got struct {
			UsedBytes     string `json:"used_bytes"`
			OverheadBytes string `json:"overhead_bytes"`
			CachedBytes   string `json:"cached_bytes"`
		}
		w.admin(t, http.MethodGet, "/v1/tenants/acme/usage", nil).want(t, http.StatusOK).decode(t, &got)
		for text, n := range map[string]*int64{got.UsedBytes: &used, got.OverheadBytes: &overhead, got.CachedBytes: &kept} {
			*n, _ = strconv.ParseInt(text, 10, 64)
		}
		return used, overhead, kept
	}
	var size int64
	for _, b := range up.Image.Blobs() {
		size += int64(len(b.Bytes))
	}
	var used, overhead, kept int64
	soon(t, "the image is cached", func() bool {
		used, overhead, kept = usage()
		return used >= size
	})
	if kept == 0 || kept > used+overhead {
		t.Fatalf("%d of %d bytes count as cached", kept, used+overhead)
	}
	w.admin(t, http.MethodPatch, "/v1/tenants/acme?update_mask=quota_bytes", map[string]any{"quota_bytes": used + overhead + 1}).want(t, http.StatusOK)

	mine := cached
	mine.name = "mine"
	mine.client = &http.Client{Transport: authorized{w.client.Transport, "suite", accountSecret}}
	mine.push(t, mine.image(t, nil), "v1")
	if _, _, now := usage(); now < kept {
		t.Errorf("%d of %d bytes are still cached", now, kept)
	}
	cached.wantImage(t, testserver.ScriptedTag, up.Image)
	w.stop(t)
	w.wantSound(t)
}
