package assemble_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

const prefetchSeed = `
tenants:
  - id: acme
    registries: [{id: dev, upstream_group: chain, anonymous_pull: true}]
    upstreams:
      - {id: hub, url: %q, tag_ttl: 3600s}
    upstream_groups:
      - {id: chain, members: [{upstream: hub}]}
`

// prefetched is a prefetch as the API shows it.
type prefetched struct {
	Run struct {
		EndTime                         string `json:"end_time"`
		References, Done, Failed, Bytes string
	}
}

func (w *world) prefetched(t *testing.T, id string) prefetched {
	t.Helper()
	var p prefetched
	w.admin(t, http.MethodGet, "/v1/tenants/acme/prefetches/"+id, nil).want(t, http.StatusOK).decode(t, &p)
	return p
}

// stalledAt is after how many bytes of a blob the upstream stalls before a kill.
const stalledAt = 1117

// holdsPart says whether a fetch has so many bytes of a blob on the disk.
func holdsPart(t *testing.T) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(mortalTemp(t), "berth-inflight-*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() == stalledAt
	})
}

// TestW239_AKilledPrefetchIsContinued kills the process that fetches three times, each time with
// a part of a blob on its disk. The run ends with all references, and the upstream was asked once for
// each document, and for the rest of those blobs. BERTH_LONG=1 plays 500 references.
func TestW239_AKilledPrefetchIsContinued(t *testing.T) {
	t.Parallel()
	const kills = 3
	images := dice.Count(t, 40, 500)
	up := testserver.StartScripted(t)
	var bytes int64
	var references []string
	for i := range images {
		img := ocitest.NewImage(uint64(1000+i), 2000, 3000)
		for _, b := range img.Blobs() {
			bytes += int64(len(b.Bytes))
		}
		up.Push("library/base", img, fmt.Sprintf("v%d", i))
		references = append(references, fmt.Sprintf("library/base:v%d", i))
	}
	up.SetLatency(20 * time.Millisecond)
	c := servers(t, "")
	chained(&c)
	own := seeded(t, c, fmt.Sprintf(prefetchSeed, up.URL()))
	own.Services = []string{boot.RegistryService, boot.AdminService, boot.JanitorService}
	w := &world{nodes: []*node{startNode(t, own)}}
	w.admin(t, http.MethodPost, "/v1/tenants/acme/prefetches?prefetch_id=base", map[string]any{
		"upstream": "hub", "references": references, "interval": "0s",
	}).want(t, http.StatusOK)
	w.admin(t, http.MethodPost, "/v1/tenants/acme/prefetches/base:run", map[string]any{}).want(t, http.StatusOK)
	const blobs = "/v2/library/base/blobs/*"
	for k := range kills {
		m := startMortal(t, c)
		await.True(t, 2*time.Minute, "some are fetched", func() bool {
			return up.Count(http.MethodGet, blobs) > 3*images*(k+1)/(kills+1)
		})
		up.Play(testserver.Script{Fault: testserver.FaultStallInBody, On: []testserver.Part{testserver.PartBlobs}, At: stalledAt})
		await.True(t, time.Minute, "a part of a blob is fetched", func() bool { return holdsPart(t) })
		up.Script(testserver.FaultNone)
		m.kill()
	}
	survivor := startMortal(t, c)
	var p prefetched
	await.True(t, 5*time.Minute, "the run has ended", func() bool {
		p = w.prefetched(t, "base")
		return p.Run.EndTime != ""
	})
	all := fmt.Sprint(images)
	if p.Run.References != all || p.Run.Done != all || p.Run.Failed != "0" {
		t.Errorf("%+v", p.Run)
	}
	asked := map[string][]string{} // the ranges, by path
	for _, r := range up.Requests() {
		if r.Method == http.MethodGet && strings.HasPrefix(r.Path, "/v2/library/base/") {
			asked[r.Path] = append(asked[r.Path], r.Header.Get("Range"))
		}
	}
	continued := 0
	for path, ranges := range asked {
		switch rest := fmt.Sprintf("bytes=%d-", stalledAt); {
		case len(ranges) == 2 && ranges[0] == "" && ranges[1] == rest:
			continued++
		case len(ranges) != 1 || ranges[0] != "":
			t.Errorf("%s was asked for by the ranges %q", path, ranges)
		}
	}
	if continued != kills {
		t.Errorf("%d blobs were continued, of %d that were cut", continued, kills)
	}
	t.Logf("%d references, %d bytes of blobs, %d kills: %d documents, of which %d were continued", images, bytes, kills, len(asked), continued)
	before := up.Count("", "/v2/library/base/*")
	there := survivor.world(t)
	r := repository{deployment{base: there.registry("dev.acme.localhost"), client: there.client}, "library/base"}
	r.get(t, r.at("manifests/v0")).want(t, http.StatusOK)
	r.get(t, r.at("blobs/%s", ocitest.NewImage(1000, 2000, 3000).Layers[1].Digest)).want(t, http.StatusOK)
	if n := up.Count("", "/v2/library/base/*"); n != before {
		t.Errorf("a pull asked the upstream %d times", n-before)
	}
}

// TestW240_APrefetchOfPatternsAndPlatforms fetches the tags that a pattern matches and of an index
// only the platforms that are named, and says what the upstream does not have.
func TestW240_APrefetchOfPatternsAndPlatforms(t *testing.T) {
	t.Parallel()
	up := testserver.StartScripted(t)
	one, other := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	up.Push("library/base", one, "v1", "v2", "x1")
	up.Push("library/other", other, "1")
	w := startEmbedded(t, fmt.Sprintf(prefetchSeed, up.URL()), chained)
	w.admin(t, http.MethodPost, "/v1/tenants/acme/prefetches?prefetch_id=base", map[string]any{
		"upstream": "hub", "patterns": []string{"library/base:v*", "library/none:*"}, "references": []string{"library/other:gone", "library/base@" + one.Manifest.Digest.String()},
		"platforms": []string{"linux/amd64"},
	}).want(t, http.StatusOK)
	await.True(t, time.Minute, "the run has ended", func() bool { return w.prefetched(t, "base").Run.EndTime != "" })
	var got struct {
		References []struct{ Reference, State, Failure string }
	}
	w.admin(t, http.MethodGet, "/v1/tenants/acme/prefetches/base/references", nil).want(t, http.StatusOK).decode(t, &got)
	want := map[string]string{
		"library/base:v1": "DONE", "library/base:v2": "DONE", "library/base@" + one.Manifest.Digest.String(): "DONE",
		"library/other:gone": "FAILED", "library/none:*": "FAILED",
	}
	for _, r := range got.References {
		if want[r.Reference] != r.State || (r.State == "FAILED") != (r.Failure != "") {
			t.Errorf("%+v", r)
		}
	}
	if len(got.References) != len(want) {
		t.Errorf("%+v", got)
	}
	for _, b := range one.Blobs() {
		if n := up.Count(http.MethodGet, "/v2/library/base/blobs/"+b.Digest.String()); n != 1 {
			t.Errorf("%s was asked for %d times", b.Digest, n)
		}
	}
	w.stop(t)
	w.wantSound(t)
}
