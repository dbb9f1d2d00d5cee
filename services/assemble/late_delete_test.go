package assemble_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/tools/testserver"
)

// lateStore is a bucket that says at once that it deleted an object, and does it later.
type lateStore struct {
	mu      sync.Mutex
	deletes []func() int // those that it has to carry out
}

func (s *lateStore) behind(pass http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete || !strings.Contains(r.URL.Path, "/o/") || r.URL.Query().Has("uploadId") {
			pass.ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		later := r.Clone(context.WithoutCancel(r.Context()))
		s.deletes = append(s.deletes, func() int {
			answer := httptest.NewRecorder()
			pass.ServeHTTP(answer, later)
			return answer.Code
		})
		w.WriteHeader(http.StatusNoContent)
	})
}

// carryOut deletes what it has to, twice, and returns how much that was.
func (s *lateStore) carryOut(t *testing.T) int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.deletes)
	for _, one := range s.deletes {
		for range 2 {
			if code := one(); code != http.StatusNoContent {
				t.Errorf("a deletion is answered %d", code)
			}
		}
	}
	s.deletes = nil
	return n
}

// TestR32_ABucketDeletesLateAndTwice: an image is deleted and collected, and pushed again. The
// bucket carries out the deletions of its first objects after that, and twice. The image stays.
func TestR32_ABucketDeletesLateAndTwice(t *testing.T) {
	t.Parallel()
	store := &lateStore{}
	c := servers(t, "")
	bucket, direct := testserver.S3Behind(t, store.behind)
	c.Blobs = boot.NewURL(bucket)
	w := startOneWith(t, c, stampedeSeed("http://127.0.0.1:1"), chained)
	dir := filepath.Join(testserver.S3Dir(t, direct), "o")
	r := w.repository(stampedeHost, "suite", "team/app")
	image := ocitest.NewImage(32, 3000, 3000)
	wantObjects := func(want int) {
		t.Helper()
		for _, b := range image.Blobs() {
			if n := objectsWith(t, dir, b.Bytes); n != want {
				t.Errorf("%d objects have the bytes of %s, want %d", n, b.Digest, want)
			}
		}
	}
	r.pushImage(t, image, "1")
	for _, d := range []ocitest.Content{image.Index, image.Manifest} {
		r.remove(t, r.at("manifests/%s", d.Digest)).want(t, http.StatusAccepted)
	}
	w.collectNow(t)
	r.head(t, r.at("blobs/%s", image.Layers[0].Digest)).want(t, http.StatusNotFound)
	r.pushImage(t, image, "1")
	wantObjects(4) // each push leaves the tail of its upload, which is condemned
	if n := store.carryOut(t); n < len(image.Blobs()) {
		t.Errorf("the bucket carries out %d deletions", n)
	}
	wantObjects(2)
	r.wantImage(t, "1", image)
	w.collectNow(t)
	store.carryOut(t)
	wantObjects(1)
	r.wantImage(t, "1", image)
	w.stop(t)
	w.wantSound(t)
}

// collectNow lets all times pass, and has the janitor remove what is due then.
func (w *world) collectNow(t *testing.T) {
	t.Helper()
	c := w.nodes[0].config
	db, err := pgx.Connect(t.Context(), c.Meta.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	for range 4 { // trash, links, blobs, objects
		for _, statement := range []string{
			`UPDATE trashed_manifests SET restore_until = now() - interval '1 s'`,
			`UPDATE repo_blobs SET keep_until = now() - interval '1 s' WHERE keep_until IS NOT NULL`,
			`UPDATE blobs SET keep_until = now() - interval '1 s' WHERE keep_until IS NOT NULL`,
			`UPDATE objects SET delete_after = now() - interval '1 s', next_try = NULL WHERE state = 'D'`,
		} {
			_, errExec := db.Exec(t.Context(), statement)
			err = errors.Join(err, errExec)
		}
		err = errors.Join(err, assemble.Collect(t.Context(), c, slog.New(slog.DiscardHandler)))
	}
	var condemned int
	err = errors.Join(err, db.QueryRow(t.Context(), `SELECT count(*) FROM objects WHERE state = 'D'`).Scan(&condemned))
	if err != nil || condemned != 0 {
		t.Fatalf("%d objects are left, %v", condemned, err)
	}
}
