package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/tools/testserver"
)

// edges are the faults of what stands before a registry that is away.
var edges = []testserver.Fault{
	testserver.FaultEdge404, testserver.FaultEdge404Version, testserver.FaultPlain404,
	testserver.FaultOther404, testserver.FaultSidecar, testserver.FaultHTML,
}

// TestT1_AnEdgeIsNotTheRegistry has the upstream go away behind its edge after a pull:
// what is kept is answered, what is not is an outage, and the next member is not asked.
func TestT1_AnEdgeIsNotTheRegistry(t *testing.T) {
	t.Parallel()
	for _, f := range edges {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			up := testserver.StartScripted(t)
			after := lure(t, up)
			w.upstream("up", up.URL(), nil)
			w.upstream("after", after.URL(), nil)
			w.chain(meta.Member{Upstream: "up"}, meta.Member{Upstream: "after"})
			w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
			up.Script(f)
			w.pass(tagTTL)
			path := "/v2/" + testserver.ScriptedName + "/manifests/"
			for range 2 { // the first time forgets nothing
				a := w.get(path + testserver.ScriptedTag)
				if a.Status != http.StatusOK || a.Body != string(up.Image.Index.Bytes) || !strings.HasPrefix(a.Header.Get("Warning"), "110 ") {
					t.Errorf("a tag that is kept: %d, Warning %q", a.Status, a.Header.Get("Warning"))
				}
				w.pass(time.Minute)
			}
			for _, path := range []string{
				path + "unknown", path + after.Image.Manifest.Digest.String()[:70] + "0",
				"/v2/library/other/tags/list", "/v2/library/other/referrers/" + up.Image.Index.Digest.String(),
			} {
				if a := w.get(path); a.Status != http.StatusBadGateway {
					t.Errorf("GET %s: %d %s", path, a.Status, a.Body)
				}
			}
			if n := after.Count("", "*"); n != 0 {
				t.Errorf("the next member was asked: %+v", after.Requests())
			}
		})
	}
}
