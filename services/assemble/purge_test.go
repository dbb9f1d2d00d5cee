package assemble_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestW22_ASecretIsErased: a pushed image with a secret in a layer is purged by the admin API.
// Its manifest, tag, history and trash are gone with the answer, and its bytes at the time that
// the answer says, from files and from a bucket.
func TestW22_ASecretIsErased(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		w := startEmbedded(t, stampedeSeed("http://127.0.0.1:1"), chained)
		erased(t, w, filepath.Join(w.nodes[0].config.DataDir, "blobs", "o"), func() {})
	})
	t.Run("a bucket", func(t *testing.T) {
		w := startOnServers(t, stampedeSeed("http://127.0.0.1:1"), "", chained)
		c := w.nodes[0].config
		erased(t, w, filepath.Join(testserver.S3Dir(t, c.Blobs.Reveal()), "o"), func() {
			// The ten minutes that a bucket waits are over.
			db, err := pgx.Connect(t.Context(), c.Meta.Reveal())
			if err == nil {
				_, err = db.Exec(t.Context(), `UPDATE objects SET delete_after = now() - interval '1 s' WHERE state = 'D' AND delete_after < now() + interval '10 minutes'`)
				err = errors.Join(err, db.Close(context.Background()), assemble.Collect(t.Context(), c, slog.New(slog.DiscardHandler)))
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	})
}

// purge is what the admin API says of a digest.
type purge struct {
	State     string
	GoneTime  time.Time `json:"gone_time"`
	Manifests []string
}

func erased(t *testing.T, w *world, dir string, wait func()) {
	n := w.nodes[0]
	hosted, other := w.repository(stampedeHost, "suite", "team/app"), w.repository(stampedeHost, "suite", "team/other")
	image, clean := ocitest.NewImage(8, 3000, 3000), ocitest.NewImage(9, 2000)
	secret := image.Layers[0]
	hosted.pushImage(t, image, "1")
	hosted.pushImage(t, clean, "2")
	other.pushImage(t, image, "old")
	other.send(t, request{method: http.MethodDelete, target: other.at("manifests/%s", image.Index.Digest)}).want(t, http.StatusAccepted)

	ask := func(want int, more map[string]any) purge {
		t.Helper()
		body := map[string]any{"digest": secret.Digest.String()}
		for k, v := range more {
			body[k] = v
		}
		a := n.admin(t, http.MethodPost, "/v1/tenants/acme:purge", body)
		a.want(t, want)
		var now purge
		if want == http.StatusOK {
			if err := json.Unmarshal(a.body, &now, json.MatchCaseInsensitiveNames(true)); err != nil {
				t.Fatalf("%v: %s", err, a.body)
			}
		} else if text := string(a.body); !strings.Contains(text, "NOT_EMPTY") || !strings.Contains(text, "registries/main/repositories/team/app@"+image.Manifest.Digest.String()) {
			t.Error(text)
		}
		return now
	}
	ask(http.StatusBadRequest, nil)
	if now := ask(http.StatusOK, map[string]any{"validate_only": true}); now.State != "PRESENT" || len(now.Manifests) != 3 {
		t.Errorf("%+v", now)
	}
	hosted.wantImage(t, "1", image)

	began := time.Now()
	now := ask(http.StatusOK, map[string]any{"force": true})
	if now.State != "DELETING" || now.GoneTime.After(began.Add(11*time.Minute)) {
		t.Errorf("%+v", now)
	}
	for _, r := range []repository{hosted, other} {
		r.head(t, r.at("manifests/%s", image.Manifest.Digest)).want(t, http.StatusNotFound)
		r.head(t, r.at("manifests/%s", image.Index.Digest)).want(t, http.StatusNotFound)
		r.head(t, r.at("blobs/%s", secret.Digest)).want(t, http.StatusNotFound)
	}
	hosted.head(t, hosted.at("manifests/1")).want(t, http.StatusNotFound)
	history := string(n.admin(t, http.MethodGet, "/v1/tenants/acme/registries/main/repositories/team/app:listTagHistory?tag=1", nil).body)
	if strings.Contains(history, image.Index.Digest.String()) {
		t.Error(history)
	}
	wait()
	await.True(t, 2*time.Minute, "the bytes are gone", func() bool {
		return ask(http.StatusOK, map[string]any{"validate_only": true}).State == "GONE"
	})
	if left := objectsWith(t, dir, secret.Bytes); left != 0 {
		t.Errorf("%d objects still have the secret", left)
	}
	hosted.wantImage(t, "2", clean)
	w.stop(t)
	w.wantSound(t)
}

// objectsWith counts the files below dir with the content.
func objectsWith(t *testing.T, dir string, content []byte) int {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		got, err := os.ReadFile(path)
		if bytes.Contains(got, content) {
			found++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
