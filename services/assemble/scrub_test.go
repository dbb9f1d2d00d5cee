package assemble_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestD8_W82_BytesChangedBehindTheRegistrysBack: an object is removed and one has a flipped byte,
// of pushed and of cached content, on files and in a bucket. The scrub names them, pulls are
// answered clearly and never by wrong bytes, a push heals what was pushed, and what was cached
// heals by itself.
func TestD8_W82_BytesChangedBehindTheRegistrysBack(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		up := testserver.StartScripted(t)
		w := startEmbedded(t, stampedeSeed(up.URL()), chained)
		changedBehind(t, up, w, filepath.Join(w.nodes[0].config.DataDir, "blobs", "o"))
	})
	t.Run("a bucket", func(t *testing.T) {
		up := testserver.StartScripted(t)
		w := startOnServers(t, stampedeSeed(up.URL()), "", chained)
		changedBehind(t, up, w, filepath.Join(testserver.S3Dir(t, w.nodes[0].config.Blobs.Reveal()), "o"))
	})
}

func changedBehind(t *testing.T, up *testserver.Scripted, w *world, dir string) {
	n := w.nodes[0]
	cached := w.anybody(t, n)[0]
	cached.wantImage(t, testserver.ScriptedTag, up.Image)
	hosted := w.repository(stampedeHost, "suite", "team/app")
	image := ocitest.NewImage(8, 3000, 3000)
	hosted.pushImage(t, image, "1")
	for _, img := range []ocitest.Image{image, up.Image} {
		lose(t, dir, img.Layers[0].Bytes)
		flip(t, dir, img.Layers[1].Bytes)
	}

	end := n.scrubs(t)
	if end.Found != "4" {
		t.Errorf("the round found %s", end.Found)
	}
	damaged := map[string]damagedBlob{}
	for _, d := range end.DamagedBlobs {
		damaged[d.Digest] = d
	}
	for i, damage := range []string{"LOST", "ROTTEN"} {
		layer := image.Layers[i]
		d := damaged[layer.Digest.String()]
		if d.Damage != damage || d.Tenant != "tenants/acme" || !slices.Contains(d.Repositories, "tenants/acme/registries/main/repositories/team/app") {
			t.Errorf("%s: %+v in %+v", damage, d, end)
		}
		target := hosted.at("blobs/%s", layer.Digest)
		a, err := hosted.try(request{method: http.MethodGet, target: target})
		if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !bytes.Contains(a.body, []byte("a push of the blob repairs it")) {
			t.Errorf("%s: %d %s", damage, a.status, a.body)
		}
		hosted.head(t, target).want(t, http.StatusNotFound)
	}
	events := string(n.admin(t, http.MethodGet, "/v1/tenants/acme/events?page_size=100", nil).body)
	for verb, want := range map[string]int{"blob.lost": 2, "blob.rotten": 2} {
		if got := strings.Count(events, `"`+verb+`"`); got != want {
			t.Errorf("%d events %s", got, verb)
		}
	}

	hosted.pushImage(t, image, "1")
	hosted.wantImage(t, "1", image)
	cached.wantImage(t, testserver.ScriptedTag, up.Image)
	await.True(t, time.Minute, "all is stored again", func() bool {
		end = n.scrubs(t)
		return end.Found == "0" && end.Damaged == "0"
	})
	cached.wantImage(t, testserver.ScriptedTag, up.Image)
	w.stop(t)
	w.wantSound(t)
}

// damagedBlob and scrub are what the admin API says.
type (
	damagedBlob struct {
		Tenant, Digest, Damage string
		Repositories           []string
	}
	scrub struct {
		State, Found, Repaired, Damaged string
		DamagedBlobs                    []damagedBlob `json:"damaged_blobs"`
	}
)

// scrubs has a whole round run and returns how it ended.
func (n *node) scrubs(t *testing.T) scrub {
	t.Helper()
	n.admin(t, http.MethodPost, "/v1/scrub:start", map[string]bool{"whole": true}).want(t, http.StatusOK)
	var now scrub
	await.True(t, time.Minute, "the scrub has ended", func() bool {
		now = scrub{}
		a := n.admin(t, http.MethodGet, "/v1/scrub", nil)
		if err := json.Unmarshal(a.body, &now, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatalf("%v: %s", err, a.body)
		}
		return now.State == "IDLE"
	})
	return now
}

// eachObject calls do with the path of every object with the content: what is condemned may be a
// copy of what is live.
func eachObject(t *testing.T, dir string, content []byte, do func(path string) error) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, content) {
			return err
		}
		found++
		return do(path)
	})
	if err != nil || found == 0 {
		t.Fatalf("%d objects: %v", found, err)
	}
}

func lose(t *testing.T, dir string, content []byte) {
	t.Helper()
	eachObject(t, dir, content, os.Remove)
}

// flip changes a byte in place: what a bucket keeps besides stays.
func flip(t *testing.T, dir string, content []byte) {
	t.Helper()
	eachObject(t, dir, content, func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{content[len(content)/2] ^ 1}, int64(len(content)/2))
		return errors.Join(err, f.Close())
	})
}
