package assemble_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/services/backup"
	"github.com/berth-registry/berth/services/janitor"
)

// settings are those of a command beside the node.
func (n *node) settings() boot.Config {
	c := embeddedIn(n.config.DataDir)
	c.AdminAddr = n.at("admin_addr")
	return c
}

// backUp makes a backup, in which nothing is lost.
func backUp(t *testing.T, c boot.Config, copying backup.Copy) backup.Summary {
	t.Helper()
	copying.Report = func(lost string) { t.Error(lost) }
	sum, err := assemble.Backup(t.Context(), c, copying)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// wantWhole has fsck read every byte of a directory and find nothing.
func wantWhole(t *testing.T, dir string) {
	t.Helper()
	if found, err := check(embeddedIn(dir)); err != nil || len(found) > 0 {
		t.Errorf("fsck of %s: %v, %v", dir, found, err)
	}
}

// restore makes a data directory of a backup.
func restore(t *testing.T, from, to string) error {
	t.Helper()
	_, err := assemble.Restore(t.Context(), embeddedIn(to), backup.Restore{From: from},
		func(f meta.Finding) { t.Errorf("%+v", f) })
	return err
}

// objectsIn is how many objects a directory of blobs holds.
func objectsIn(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "blobs/o/*/*/*"))
	mustAll(t, err)
	return len(files)
}

// A backup is made of a server that is used meanwhile, holds what was
// acknowledged when it began, is checked as it stands, and serves once restored.
func TestJ1_BackupAndRestore(t *testing.T) {
	dir, restored := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
	n := startNode(t, embeddedIn(t.TempDir()))
	r := n.open(t, "app")
	first := r.push(t, r.image(t, nil), "1")
	location := r.start(t, "").header.Get("Location") // an upload that stays open
	r.patch(t, location, 0, []byte("staged"))
	meanwhile := false
	sum := backUp(t, n.settings(), backup.Copy{Dir: dir, Progress: func(int64, int64) {
		if !meanwhile {
			r.push(t, r.image(t, nil), "2")
		}
		meanwhile = true
	}})
	if sum.Objects == 0 || sum.NewObjects != sum.Objects || objectsIn(t, dir) != int(sum.Objects) {
		t.Errorf("%+v, and %d objects in the backup", sum, objectsIn(t, dir))
	}
	wantWhole(t, dir)
	if _, err := assemble.New(t.Context(), embeddedIn(dir), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is a backup. Restore it") {
		t.Errorf("a backup is served: %v", err)
	}
	wantWhole(t, dir)
	if left, err := filepath.Glob(filepath.Join(n.config.DataDir, "backups", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left of the snapshot, %v", left, err)
	}
	for _, file := range []string{"secret-key", "operator-token"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			t.Errorf("%s is in the backup", file)
		}
	}
	mustAll(t, restore(t, dir, restored))
	wantWhole(t, restored)
	serveOnce(t, embeddedIn(restored), func(n *node) {
		r := n.open(t, "app")
		r.wantManifest(t, "1", first)
		for _, d := range blobsOf(t, first) {
			r.get(t, r.at("blobs/%s", d)).want(t, http.StatusOK)
		}
		if tags, _ := r.tags(t, ""); len(tags) != 1 {
			t.Errorf("tags %q, and 2 was pushed after the backup began", tags)
		}
		r.push(t, r.image(t, nil), "3")
	})
	wantWhole(t, restored)
	if err := restore(t, dir, restored); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("restored over what is there: %v", err)
	}
}

// The next backup copies what is new, and removes what is old only when it is
// told to. A backup of a stopped server is the same.
func TestJ2_TheNextBackupCopiesWhatIsNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	c := embeddedIn(t.TempDir())
	shortLived(&c)
	n := startNode(t, c)
	n.open(t, "old").push(t, n.open(t, "old").image(t, nil), "1")
	n.open(t, "kept").push(t, n.open(t, "kept").image(t, nil), "1")
	first := backUp(t, n.settings(), backup.Copy{Dir: dir})
	if again := backUp(t, n.settings(), backup.Copy{Dir: dir}); again.NewObjects != 0 || again.Objects != first.Objects {
		t.Errorf("%+v, after %+v", again, first)
	}
	n.admin(t, http.MethodDelete, "/v1/tenants/default/registries/main/repositories/old", nil).want(t, http.StatusOK)
	n.open(t, "new").push(t, n.open(t, "new").image(t, nil), "1")
	n.stop(t)
	mustAll(t, assemble.Collect(t.Context(), c, slog.New(slog.DiscardHandler)))
	stopped := n.settings() // where no server answers now
	next := backUp(t, stopped, backup.Copy{Dir: dir})
	if next.NewObjects != 2 || objectsIn(t, dir) != int(first.Objects)+2 {
		t.Errorf("%+v, and %d objects", next, objectsIn(t, dir))
	}
	pruned := backUp(t, stopped, backup.Copy{Dir: dir, Prune: true})
	if pruned.Pruned != 2 || objectsIn(t, dir) != int(pruned.Objects) {
		t.Errorf("%+v, and %d objects", pruned, objectsIn(t, dir))
	}
	wantWhole(t, dir)
	mustAll(t, restore(t, dir, filepath.Join(t.TempDir(), "restored")))
}

// What a client could pull when the backup began is not deleted until it ends,
// whatever is deleted meanwhile and however short the delays are; a backup whose
// maker is gone ends by itself.
func TestJ3_CollectionWaitsForABackup(t *testing.T) {
	c := embeddedIn(t.TempDir())
	shortLived(&c)
	serveOnce(t, c, func(n *node) { n.open(t, "app").push(t, n.open(t, "app").image(t, nil), "1") })
	life := meta.DefaultLifetimes
	life.Grace, life.DeleteDelay, life.Undelete = time.Microsecond, time.Microsecond, 0
	m, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: c.DataDir, Lifetimes: life})
	mustAll(t, err)
	defer m.Close()
	blobs, err := fsblob.Open(filepath.Join(c.DataDir, "blobs"), fsblob.Options{})
	mustAll(t, err)
	defer blobs.Close()

	now := time.Now()
	log := slog.New(slog.DiscardHandler)
	keeper, err := backup.NewKeeper(backup.Config{Dir: c.DataDir, Snapshot: m.Snapshot, Log: log, Now: func() time.Time { return now }})
	mustAll(t, err)
	collector := janitor.New(janitor.Config{Meta: m, Blobs: blobs, Log: log, Held: keeper.Held})
	collect := func() { mustAll(t, collector.Pass(t.Context()), collector.Pass(t.Context())) }
	id, _, err := keeper.Begin(t.Context())
	mustAll(t, err)
	tn, err := m.FindTenant(t.Context(), "default")
	mustAll(t, err)
	main, err := m.FindRegistry(t.Context(), tn.ID, "main")
	mustAll(t, err)
	mustAll(t, m.DeleteRepository(t.Context(), meta.Cause{Op: uuid.New()}, meta.Repo{Tenant: tn.ID, Registry: main.ID, Name: "app"}))
	collect()
	if got := objectsIn(t, c.DataDir); got != 2 {
		t.Fatalf("%d objects are there during the backup", got)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	sum, err := backup.Copy{Dir: dir, Blobs: blobs, Snapshot: func(ctx context.Context, file string) error {
		return backup.CopyFile(ctx, filepath.Join(c.DataDir, keeper.Snapshot(id)), file)
	}}.Run(t.Context())
	if err != nil || sum.Objects != 2 || sum.Lost != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	wantWhole(t, dir)

	now = now.Add(backup.Lease - time.Second)
	if _, err := keeper.Renew(id); err != nil {
		t.Error(err)
	}
	now = now.Add(backup.Lease - time.Second)
	if !keeper.Held() {
		t.Error("a backup that was renewed holds nothing")
	}
	now = now.Add(2 * time.Second) // the one who makes it is gone
	if keeper.Held() {
		t.Error("a backup that was not renewed holds on")
	}
	if _, err := keeper.Renew(id); err == nil {
		t.Error("a backup that is over is renewed")
	}
	if left, err := filepath.Glob(filepath.Join(c.DataDir, "backups", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left of it, %v", left, err)
	}

	_, _, err = keeper.Begin(t.Context())
	mustAll(t, err)
	again, err := backup.NewKeeper(backup.Config{Dir: c.DataDir, Snapshot: m.Snapshot, Log: log}) // as the next start does
	mustAll(t, err)
	if left, err := filepath.Glob(filepath.Join(c.DataDir, "backups", "*")); err != nil || len(left) > 0 || again.Held() {
		t.Errorf("%v is left of a server that was killed, %v", left, err)
	}
	now = now.Add(2 * backup.Lease)
	collect()
	if got := objectsIn(t, c.DataDir); got != 0 {
		t.Errorf("%d objects are there after the backup", got)
	}
}

// A damaged or cut-off backup is not restored, and says what is wrong; blobs that
// the server has lost do not keep the others from being backed up.
func TestJ4_DamageIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	n := startNode(t, embeddedIn(t.TempDir()))
	r := n.open(t, "app")
	r.push(t, r.image(t, nil), "1")
	backUp(t, n.settings(), backup.Copy{Dir: dir})
	objects, err := filepath.Glob(filepath.Join(dir, "blobs/o/*/*/*"))
	mustAll(t, err)
	object := strings.TrimPrefix(objects[0], dir)
	for _, c := range []struct {
		what   string
		damage func(dir string) error
		want   string
	}{
		{"a flipped bit", func(dir string) error {
			file := filepath.Join(dir, object)
			text, err := os.ReadFile(file)
			if err == nil {
				text[0] ^= 1
				err = errors.Join(os.Remove(file), os.WriteFile(file, text, 0o600))
			}
			return err
		}, "1 files of the backup"},
		{"a lost database", func(dir string) error { return os.Remove(filepath.Join(dir, "meta.db")) }, "1 files of the backup"},
		{"a list that is cut off", func(dir string) error {
			list := filepath.Join(dir, "SHA256SUMS")
			text, err := os.ReadFile(list)
			return errors.Join(err, os.WriteFile(list, text[:strings.Index(string(text), "\n")+1], 0o600))
		}, "is cut off"},
		{"a list that leads elsewhere", func(dir string) error {
			list := filepath.Join(dir, "SHA256SUMS")
			text, err := os.ReadFile(list)
			return errors.Join(err, os.WriteFile(list, []byte(strings.Replace(string(text), "  blobs/", "  ../blobs/", 1)), 0o600))
		}, "is not one that berth backup writes"},
		{"no backup", func(dir string) error { return os.Remove(filepath.Join(dir, "SHA256SUMS")) }, "is not a backup"},
	} {
		t.Run(c.what, func(t *testing.T) {
			broken, to := copyDir(t, dir), filepath.Join(t.TempDir(), "restored")
			mustAll(t, c.damage(broken))
			if err := restore(t, broken, to); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("restore says %v, want %q in it", err, c.want)
			}
			if _, err := os.Stat(to); err == nil {
				t.Error("something is left of it")
			}
		})
	}

	lost := filepath.Join(n.config.DataDir, object)
	mustAll(t, os.Remove(lost))
	var told []string
	sum, err := assemble.Backup(t.Context(), n.settings(), backup.Copy{Dir: filepath.Join(t.TempDir(), "other"), Report: func(what string) { told = append(told, what) }})
	if err != nil || sum.Lost != 1 || sum.Objects != 1 || len(told) != 1 || !strings.Contains(told[0], "is missing") {
		t.Errorf("%+v, %v, %q", sum, err, told)
	}
}

// A backup is not mixed with anything else.
func TestJ5_BackupsKeepToThemselves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	one, two := startNode(t, embeddedIn(t.TempDir())), startNode(t, embeddedIn(t.TempDir()))
	backUp(t, one.settings(), backup.Copy{Dir: dir})
	elsewhere := one.settings()
	elsewhere.AdminAddr = two.at("admin_addr")
	unreachable := one.settings()
	unreachable.AdminAddr = "127.0.0.1:1"
	stranger := one.settings()
	stranger.OperatorToken = boot.NewSecret("another-operator-token-than-that")
	cluster := one.settings()
	cluster.Meta = boot.NewURL("postgres://db.example/berth")
	for _, c := range []struct {
		what, dir, want string
		settings        boot.Config
	}{
		{"into the backup of another", dir, "holds a backup of deployment", two.settings()},
		{"into a data directory", two.config.DataDir, "which is not part of a backup", one.settings()},
		{"into its own data directory", one.config.DataDir, "give another directory", one.settings()},
		{"below its own data directory", filepath.Join(one.config.DataDir, "new", "backup"), "give another directory", one.settings()},
		{"of another server", filepath.Join(t.TempDir(), "new"), "is not that of the server at", elsewhere},
		{"of a server that does not answer", filepath.Join(t.TempDir(), "new"), "no server answers at admin_addr", unreachable},
		{"with a wrong token", filepath.Join(t.TempDir(), "new"), "the server there may have another data_dir", stranger},
		{"of a cluster", filepath.Join(t.TempDir(), "new"), "use pg_dump", cluster},
		{"of nothing", filepath.Join(t.TempDir(), "new"), "there is nothing to back up", embeddedIn(t.TempDir())},
	} {
		if _, err := assemble.Backup(t.Context(), c.settings, backup.Copy{Dir: c.dir}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.what, err, c.want)
		}
	}
	wantWhole(t, dir)
	if left, err := filepath.Glob(filepath.Join(two.config.DataDir, "backups", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left of the snapshots, %v", left, err)
	}
}
