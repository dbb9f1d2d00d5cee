package assemble_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/tools/testserver"
)

// ready is what /readyz says of a check.
func (n *node) ready(t *testing.T, check string) (int, string, string) {
	t.Helper()
	resp, err := http.Get("http://" + n.at("ops_addr") + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		Checks map[string]struct{ Detail, Error string } `json:"checks"`
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &said, json.MatchCaseInsensitiveNames(true))
	}
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return resp.StatusCode, said.Checks[check].Detail, said.Checks[check].Error
}

// TestT46_AFullCacheIsTold: images are pulled, nothing is stored, and the process stays
// ready, with files and with a bucket.
func TestT46_AFullCacheIsTold(t *testing.T) {
	small := func(c *boot.Config) { c.CacheMax = 1000 }
	t.Run("embedded", func(t *testing.T) {
		up := testserver.StartScripted(t)
		tellsOfFullCache(t, up, startEmbedded(t, stampedeSeed(up.URL()), chained, small))
	})
	t.Run("servers", func(t *testing.T) {
		up := testserver.StartScripted(t)
		tellsOfFullCache(t, up, startOnServers(t, stampedeSeed(up.URL()), "", chained, small))
	})
}

func tellsOfFullCache(t *testing.T, up *testserver.Scripted, w *world) {
	t.Helper()
	r := w.anybody(t, w.nodes...)[0]
	for range 2 {
		r.wantImage(t, testserver.ScriptedTag, up.Image)
	}
	status, level, problem := w.nodes[0].ready(t, "cache")
	if status != http.StatusOK || !strings.Contains(level, "of 1000 B cached") || !strings.Contains(problem, "cache_max") {
		t.Errorf("/readyz answers %d: %q, %q", status, level, problem)
	}
	told := w.nodes[0].metrics(t)
	for _, want := range []string{"\nberth_cache_bound_bytes 1000\n", "\nberth_cache_evicted_bytes ", "\nberth_cache_bytes ", "\nberth_cache_direct_total 0\n", "\nberth_cache_refused_bytes_total "} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in the metrics", want)
		}
	}
	if strings.Contains(told, "\nberth_cache_refused_total 0\n") {
		t.Error("the metrics count no blob that was not stored")
	}
	w.stop(t)
}

// TestT43_PullsFromAFullDisk: others have filled the disk of the data directory.
func TestT43_PullsFromAFullDisk(t *testing.T) {
	disk := testserver.SmallDisk(t, "32m")
	up := testserver.StartScripted(t)
	w := startEmbedded(t, stampedeSeed(up.URL()), chained, func(c *boot.Config) { c.DataDir = filepath.Join(disk, "data") })
	r := w.anybody(t, w.nodes...)[0]
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 64<<10))
	}
	for range 2 {
		r.wantImage(t, testserver.ScriptedTag, up.Image)
	}
	if strings.Contains(w.nodes[0].metrics(t), "\nberth_cache_direct_total 0\n") {
		t.Error("nothing was passed through without a file")
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	r.wantImage(t, testserver.ScriptedTag, up.Image)
	w.stop(t)
}
