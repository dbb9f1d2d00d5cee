package assemble_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/opencontainers/go-digest"
	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/s3blob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/tools/testserver"
)

// embeddedIn is the configuration of one process on the directory.
func embeddedIn(dir string) boot.Config {
	c := boot.Default()
	c.DataDir = dir
	c.OperatorToken = boot.NewSecret(secret)
	return c
}

// open is the repository of the default tenant, which takes pushes from anybody
// here.
func (n *node) open(t *testing.T, name string) repository {
	t.Helper()
	w := newWorld(t, n.at("data_addr"), n)
	return repository{deployment{base: w.registry("localhost"), client: w.client}, name}
}

// check is what fsck says, and its error.
func check(c boot.Config) ([]string, error) {
	var found []string
	_, err := assemble.Check(context.Background(), c, true, nil, func(f meta.Finding) { found = append(found, f.Invariant+" "+f.Detail) })
	return found, err
}

// wantRefused has serve and fsck refuse, for the reason and with the way out.
func wantRefused(t *testing.T, c boot.Config, reasons ...string) {
	t.Helper()
	_, served := launch(t, onFreePorts(c))
	_, checked := check(c)
	for what, err := range map[string]error{"serve": served, "fsck": checked} {
		if err == nil {
			t.Errorf("%s does not refuse", what)
			continue
		}
		for _, reason := range reasons {
			if !strings.Contains(err.Error(), reason) {
				t.Errorf("%s says %q, want %q in it", what, err, reason)
			}
		}
	}
}

// serveOnce starts a node, does something with it and stops it.
func serveOnce(t *testing.T, c boot.Config, do func(n *node)) {
	t.Helper()
	n := startNode(t, c)
	if do != nil {
		do(n)
	}
	n.stop(t)
}

// copyDir copies a directory.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func digestOf(content []byte) string { return digest.FromBytes(content).String() }

func mustAll(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// listing is the names of everything below a directory, except for what SQLite makes
// and removes beside its file.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	mustAll(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if !strings.HasSuffix(path, "-shm") && !strings.HasSuffix(path, "-wal") {
			names = append(names, path)
		}
		return err
	}))
	return strings.Join(names, "\n")
}

// fsck of a directory that holds nothing of Berth says so and makes nothing.
func TestH1_FsckMakesNothing(t *testing.T) {
	empty, notes, missing := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "missing")
	mustAll(t, os.WriteFile(filepath.Join(notes, "notes.txt"), []byte("x"), 0o600))
	for _, dir := range []string{empty, notes} {
		before := listing(t, dir)
		if _, err := check(embeddedIn(dir)); err == nil || !strings.Contains(err.Error(), "there is no database in data_dir "+dir) {
			t.Errorf("%v", err)
		}
		if after := listing(t, dir); after != before {
			t.Errorf("made:\n%s", after)
		}
	}
	if _, err := check(embeddedIn(missing)); err == nil {
		t.Error("a directory that is not there is well")
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it was made")
	}
}

// Half of a deployment, or the halves of two, are refused by serve and fsck, and
// nothing is made beside them. An operator may continue.
func TestH2_HalvesThatDoNotBelongTogetherAreRefused(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	push := func(n *node) { n.open(t, "app").blobOf(t, typeBytes, []byte("kept")) }
	serveOnce(t, embeddedIn(dir), push)
	serveOnce(t, embeddedIn(other), push)
	for _, c := range []struct {
		what   string
		damage func(dir string) error
		want   string
	}{
		{"no database", func(dir string) error { return removeDatabase(dir) }, "start once with accept_store (--accept-store)"},
		{"no database, no identity in the store", func(dir string) error {
			return errors.Join(removeDatabase(dir), os.Remove(filepath.Join(dir, "blobs", "berth-identity")))
		}, "start once with accept_store (--accept-store)"},
		{"no blobs", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "blobs")) }, "names blobs that are not in"},
		{"an empty volume for blobs", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "blobs")), os.Mkdir(filepath.Join(dir, "blobs"), 0o750))
		}, "names blobs that are not in"},
		{"the blobs of another", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "blobs")), os.CopyFS(filepath.Join(dir, "blobs"), os.DirFS(filepath.Join(other, "blobs"))))
		}, "Name the two that belong together"},
	} {
		t.Run(c.what, func(t *testing.T) {
			broken := copyDir(t, dir)
			mustAll(t, c.damage(broken))
			before := listing(t, broken)
			settings := embeddedIn(broken)
			_, served := launch(t, onFreePorts(settings))
			_, checked := check(settings)
			if served == nil || !strings.Contains(served.Error(), c.want) || !strings.HasPrefix(served.Error(), "data_dir "+broken) {
				t.Errorf("serve says %v, want %q in it", served, c.want)
			}
			if checked == nil {
				t.Error("fsck does not refuse")
			}
			after := strings.ReplaceAll(listing(t, broken), "\n"+filepath.Join(broken, "blobs", "o"), "")
			if before := strings.ReplaceAll(before, "\n"+filepath.Join(broken, "blobs", "o"), ""); after != before && c.what != "an empty volume for blobs" {
				t.Errorf("it holds\n%s\nbefore\n%s", after, before)
			}
			settings.AcceptRestored = true // is about something else
			if n, err := launch(t, onFreePorts(settings)); err == nil {
				n.stop(t)
				t.Error("accept_restored lets it serve")
			}
			settings.AcceptRestored, settings.AcceptStore = false, true
			serveOnce(t, settings, nil)
			serveOnce(t, embeddedIn(broken), nil)
		})
	}
}

func removeDatabase(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "meta.db*"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// A database that is older than its store neither serves nor is checked, until an
// operator says that it is the one to continue with.
func TestH3_AnOlderDatabaseIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	c := embeddedIn(dir)
	serveOnce(t, c, func(n *node) { n.open(t, "app").blobOf(t, typeBytes, []byte("kept")) })
	backup := copyDir(t, dir)
	serveOnce(t, c, nil)
	mustAll(t, removeDatabase(dir), os.CopyFS(filepath.Join(dir, "back"), os.DirFS(backup)))
	files, err := filepath.Glob(filepath.Join(dir, "back", "meta.db*"))
	mustAll(t, err)
	for _, f := range files {
		mustAll(t, os.Rename(f, filepath.Join(dir, filepath.Base(f))))
	}
	wantRefused(t, c, "data_dir "+dir, "is older than", "start once with accept_restored (--accept-restored)")
	c.AcceptStore = true // is about something else
	wantRefused(t, c, "is older than")
	c.AcceptStore, c.AcceptRestored = false, true
	if found, err := check(c); err != nil || len(found) > 0 {
		t.Errorf("fsck of what is accepted: %v, %v", found, err)
	}
	mustAll(t, assemble.AcceptRestored(t.Context(), embeddedIn(dir), slog.New(slog.DiscardHandler)))
	serveOnce(t, embeddedIn(dir), func(n *node) {
		n.open(t, "app").head(t, "/v2/app/blobs/"+digestOf([]byte("kept"))).want(t, http.StatusOK)
	})
}

// The data directory of the version before opens, gets its identity, and serves
// what it held.
func TestH4_TheDirectoryOfTheVersionBefore(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/schema-0003.tar.gz", dir)
	c := embeddedIn(dir)
	if _, err := check(c); err == nil || !strings.Contains(err.Error(), "its schema version is 3, older than this program's") {
		t.Errorf("fsck before: %v", err)
	}
	alone := copyDir(t, dir)
	mustAll(t, os.RemoveAll(filepath.Join(alone, "blobs")))
	if _, err := launch(t, onFreePorts(embeddedIn(alone))); err == nil || !strings.Contains(err.Error(), "names blobs that are not in") {
		t.Errorf("without its blobs: %v", err)
	}
	alone = copyDir(t, dir)
	mustAll(t, removeDatabase(alone))
	wantRefused(t, embeddedIn(alone))

	for range 2 {
		serveOnce(t, c, func(n *node) {
			r := n.open(t, "old/app")
			r.get(t, r.at("manifests/v1")).want(t, http.StatusOK)
			for _, layer := range []string{"the first layer of the version before", "the second layer of the version before"} {
				if got := r.get(t, r.at("blobs/%s", digestOf([]byte(layer)))).want(t, http.StatusOK); string(got.body) != layer {
					t.Errorf("got %q", got.body)
				}
			}
			r.blobOf(t, typeBytes, []byte("pushed since"))
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "blobs", "berth-identity")); err != nil {
		t.Error(err)
	}
	if found, err := check(c); err != nil || len(found) > 0 {
		t.Errorf("fsck: %v, %v", found, err)
	}
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	mustAll(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	mustAll(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		mustAll(t, err)
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.FileInfo().IsDir() {
			mustAll(t, os.MkdirAll(path, 0o750))
			continue
		}
		text, err := io.ReadAll(r)
		mustAll(t, err, os.WriteFile(path, text, h.FileInfo().Mode().Perm()))
	}
}

// On servers it is the same: nodes that start at once agree, also while others
// serve; then a bucket of another, an empty one, a new database and an older one
// are refused.
func TestH5_ServersThatDoNotBelongTogetherAreRefused(t *testing.T) {
	t.Parallel()
	c := serversWith(t, testserver.StartPostgres(t), "")
	nodes := make([]*node, 4)
	var all sync.WaitGroup
	for i := range nodes {
		all.Go(func() {
			var err error
			if nodes[i], err = launch(t, onFreePorts(c)); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	w := newWorld(t, nodes[0].at("data_addr"), nodes...)
	later := startNode(t, c)
	for _, n := range slices.Concat(nodes, []*node{later}) {
		wantReady(t, n, http.StatusOK)
	}
	if got := w.count(t, `SELECT generation FROM deployment`); got != 5 {
		t.Errorf("generation %d after five starts", got)
	}
	if found, err := check(c); err != nil || len(found) > 0 {
		t.Errorf("fsck beside them: %v, %v", found, err)
	}

	// Restored under them: none is ready, and none collects (janitor.Config.Guard).
	db, err := sql.Open("pgx", c.Meta.Reveal())
	mustAll(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `UPDATE deployment SET generation = 3`)
	mustAll(t, err)
	for _, n := range nodes {
		wantReady(t, n, http.StatusServiceUnavailable)
		n.stop(t)
	}
	later.stop(t)
	wantRefused(t, c, "meta and blobs: ", "it is at generation 3, and the blobs were served with generation 5", "--accept-restored")
	restored := c
	restored.AcceptRestored = true
	serveOnce(t, restored, nil)
	serveOnce(t, c, nil)
	if got := w.count(t, `SELECT generation FROM deployment`); got != 7 {
		t.Errorf("generation %d, want one that is later than the store's", got)
	}

	empty := c
	empty.Blobs = boot.NewURL(testserver.S3(t))
	wantRefused(t, empty, "names blobs that are not in the blob store that blobs names", "--accept-store")
	second := serversWith(t, testserver.StartPostgres(t), "")
	if _, err := check(second); err == nil {
		t.Error("fsck of nothing is well")
	}
	fresh := second
	fresh.Blobs = c.Blobs
	if _, err := launch(t, onFreePorts(fresh)); err == nil || !strings.Contains(err.Error(), "belongs to a deployment whose database is not") {
		t.Errorf("a new database on the bucket of another: %v", err)
	}
	serveOnce(t, second, nil)
	wantRefused(t, fresh, "Name the two that belong together")
	serveOnce(t, c, nil)
}

// wantReady waits until /readyz has the status.
func wantReady(t *testing.T, n *node, want int) {
	t.Helper()
	await.True(t, 20*time.Second, "/readyz to say so", func() bool {
		res, err := http.Get("http://" + n.at("ops_addr") + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == want
	})
}

// version3 is a database of the version that had no identity: a registry that
// anyone may pull from, with one blob, which is empty.
const version3 = `
INSERT INTO tenants (id, slug, display_name, state, epoch, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
VALUES (1, 'acme', '', 'active', 1, 1, now(), now());
INSERT INTO usage VALUES (1, 0, 0);
INSERT INTO registries (tenant_id, id, slug, settings, state, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
VALUES (1, 1, 'main', '{"anonymous_pull":true}', 'active', 1, now(), now());
INSERT INTO objects (tenant_id, incarnation, size, state, created_at) VALUES (1, '4e74db8a-61d7-40c1-8ed0-790f1d1e36e4', 0, 'L', now());
INSERT INTO blobs (tenant_id, digest, size, incarnation, keep_until)
VALUES (1, '\x01e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, '4e74db8a-61d7-40c1-8ed0-790f1d1e36e4', now() + interval '1 day');
INSERT INTO repositories (tenant_id, id, registry_id, name, state, created_at) OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, 'app', 'active', now());
INSERT INTO repo_blobs SELECT tenant_id, 1, digest, keep_until FROM blobs;`

// A database of the version before is migrated, finds its objects in the bucket,
// and gets its identity; with another bucket it is refused.
func TestH4_TheDatabaseOfTheVersionBefore(t *testing.T) {
	c := serversWith(t, testserver.StartPostgres(t), "")
	db, err := sql.Open("pgx", c.Meta.Reveal())
	mustAll(t, err)
	defer db.Close()
	steps, err := fs.Sub(migrations.Postgres, "postgres")
	mustAll(t, err)
	p, err := goose.NewProvider(goose.DialectPostgres, db, steps)
	mustAll(t, err)
	_, err = p.UpTo(t.Context(), 3)
	mustAll(t, err)
	_, err = db.ExecContext(t.Context(), version3)
	mustAll(t, err)
	bucket, err := s3blob.Open(t.Context(), c.Blobs.Reveal(), s3blob.Options{})
	mustAll(t, err)
	_, err = bucket.Seal(t.Context(), blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.MustParse("4e74db8a-61d7-40c1-8ed0-790f1d1e36e4")}})
	mustAll(t, err, bucket.Close())

	other := c
	other.Blobs = boot.NewURL(testserver.S3(t))
	if _, err := check(c); err == nil || !strings.Contains(err.Error(), "run `berth migrate`, or start a server, first") {
		t.Errorf("fsck before: %v", err)
	}
	mustAll(t, assemble.Migrate(t.Context(), c))
	wantRefused(t, other, "names blobs that are not in the blob store that blobs names")
	if found, err := check(c); err != nil || len(found) > 0 {
		t.Errorf("fsck once it is migrated: %v, %v", found, err)
	}
	serveOnce(t, c, func(n *node) {
		w := newWorld(t, n.at("data_addr"), n)
		r := repository{deployment{base: w.registry("acme.localhost"), client: w.client}, "app"}
		r.get(t, r.at("blobs/%s", digest.FromBytes(nil))).want(t, http.StatusOK)
		if got := w.count(t, `SELECT generation FROM deployment`); got != 1 {
			t.Errorf("generation %d", got)
		}
	})
}

// A store that is gone while it is served is an outage; an object that is gone is
// one that a push heals.
func TestH6_AStoreThatIsGoneIsAnOutage(t *testing.T) {
	content := []byte("bytes that go away")
	d := digestOf(content)

	t.Run("a directory", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		n := startNode(t, embeddedIn(dir))
		r := n.open(t, "app")
		r.blobOf(t, typeBytes, content)
		blobs, away := filepath.Join(dir, "blobs"), t.TempDir()
		for _, name := range []string{"berth-identity", "o"} {
			mustAll(t, os.Rename(filepath.Join(blobs, name), filepath.Join(away, name)))
		}
		wantDown(t, r, n, d)
		for _, name := range []string{"o", "berth-identity"} {
			mustAll(t, os.Rename(filepath.Join(away, name), filepath.Join(blobs, name)))
		}
		wantReady(t, n, http.StatusOK)
		r.head(t, r.at("blobs/%s", d)).want(t, http.StatusOK) // it was not suspected
		objects, err := filepath.Glob(filepath.Join(blobs, "o", "*", "*", "*"))
		mustAll(t, err, os.Remove(objects[0]))
		wantHealed(t, r, n, content)
		mustAll(t, os.RemoveAll(blobs))
		wantDown(t, r, n, d)
	})
	t.Run("a bucket", func(t *testing.T) {
		c := servers(t, "")
		n := startNode(t, c)
		n.admin(t, http.MethodPost, "/v1/tenants?tenant_id=acme", map[string]any{}).want(t, http.StatusOK)
		n.admin(t, http.MethodPatch, "/v1/tenants/acme/registries/main?update_mask=anonymous_push,anonymous_pull",
			map[string]any{"anonymous_push": true, "anonymous_pull": true}).want(t, http.StatusOK)
		w := newWorld(t, n.at("data_addr"), n)
		r := repository{deployment{base: w.registry("acme.localhost"), client: w.client}, "app"}
		r.blobOf(t, typeBytes, content)
		testserver.S3Lose(t, c.Blobs.Reveal(), "o")
		wantHealed(t, r, n, content)
		testserver.S3Lose(t, c.Blobs.Reveal(), "")
		wantDown(t, r, n, d)
		if got := w.count(t, `SELECT count(*) FROM blobs WHERE suspect`); got != 0 {
			t.Errorf("%d blobs are suspect", got)
		}
	})
}

// wantDown has pulls of the blob, and pushes of it, answered by 503.
func wantDown(t *testing.T, r repository, n *node, d string) {
	t.Helper()
	wantReady(t, n, http.StatusServiceUnavailable)
	for range 2 {
		a, err := r.try(request{method: http.MethodGet, target: r.at("blobs/%s", d)})
		if err != nil || a.status != http.StatusServiceUnavailable {
			t.Fatalf("pulled while the store is gone: %d, %v", a.status, err)
		}
	}
}

// wantHealed has a blob whose object is lost answered by 503, then as absent to
// who pushes, and heals it.
func wantHealed(t *testing.T, r repository, n *node, content []byte) {
	t.Helper()
	target := r.at("blobs/%s", digestOf(content))
	if a, err := r.try(request{method: http.MethodGet, target: target}); err != nil || a.status != http.StatusServiceUnavailable {
		t.Fatalf("pulled without its object: %d, %v", a.status, err)
	}
	wantReady(t, n, http.StatusOK)
	r.head(t, target).want(t, http.StatusNotFound, http.StatusUnauthorized) // 401 where there is a chain: it asks who may push
	r.blobOf(t, typeBytes, content)
	r.get(t, target).want(t, http.StatusOK)
}
