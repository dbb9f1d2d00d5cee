package main

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to break a database

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/tools/internal/gate"
)

func TestMain(m *testing.M) {
	gate.Launch()
	serveAsJanitor()
	m.Run()
}

// TestTamperingIsFound breaks a store in the ways that the runs are there to
// find: a harness that cannot fail is worth nothing.
func TestTamperingIsFound(t *testing.T) {
	berth := filepath.Join(t.TempDir(), "berth")
	if said, err := exec.Command("go", "build", "-o", berth, "../../services/berth").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for name, c := range map[string]struct {
		tamper func(t *testing.T, data string)
		finds  string
	}{
		"nothing":                      {func(*testing.T, string) {}, ""},
		"a lost tag":                   {execute(`UPDATE tags SET manifest = NULL`), "holds \"\", which no order of the acknowledged writes explains"},
		"a lost link of a blob":        {execute(`PRAGMA foreign_keys = OFF; DELETE FROM repo_blobs`), "holds \"\", which no order"},
		"a charge that was made twice": {execute(`UPDATE usage SET used = used + 7`), "the tenant is charged for"},
		"a lost object":                {eachObject(os.Remove), "no answer"},
		"a changed object":             {eachObject(change), "which no order of the acknowledged writes explains"},
		"an unknown object":            {plant, "is in the store and in no row"},
		"a reference that is lost":     {execute(`DELETE FROM manifest_blobs`), "2 blobs are left, and after the janitor fsck says: 0 objects"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tampered(t, berth, c.tamper)
			switch {
			case c.finds == "" && err != nil:
				t.Error(err)
			case c.finds != "" && (err == nil || !strings.Contains(err.Error(), c.finds)):
				t.Errorf("found %v, want %q", err, c.finds)
			}
		})
	}
}

// tampered does an operation whose data is broken while the server is stopped,
// and returns what the harness finds.
func tampered(t *testing.T, berth string, tamper func(*testing.T, string)) error {
	t.Helper()
	w := &watch{}
	e, err := newEmbedded(berth, t.TempDir(), w)
	if err != nil {
		t.Fatal(err)
	}
	r := runner{name: "embedded", out: t.Output(), client: &client{
		deployment: e, watch: w, books: newBooks(), rng: rand.New(rand.NewPCG(dice.Seed(t), 0)),
	}}
	if err := r.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.close() })
	op := operation{name: "tamper", prepare: func(ctx context.Context, c *client) (act, error) {
		repo := c.repo()
		img := newImage("image", ocitest.Extra{}, c.small())
		return func(ctx context.Context) error {
			if err := c.putManifest(ctx, repo, "v1", img); err != nil {
				return err
			}
			err := c.aside(ctx, func() error {
				tamper(t, e.data)
				return nil
			})
			return errors.Join(err, c.audit(ctx), c.clearAway(ctx))
		}, c.pushBlobs(ctx, repo, img)
	}}
	_, err = r.once(t.Context(), op, step{}, true)
	return err
}

func execute(statements string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(data, "meta.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
	}
}

func eachObject(do func(path string) error) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		t.Helper()
		err := filepath.WalkDir(filepath.Join(data, "blobs", "o"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return do(path)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// change changes a byte and keeps the size.
func change(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[0] ^= 1
	return os.WriteFile(path, b, 0o600)
}

func plant(t *testing.T, data string) {
	t.Helper()
	shard := filepath.Join(data, "blobs", "o", "1", "7b")
	if err := os.MkdirAll(shard, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shard, "8f14e45f-ceea-467f-a9c1-0a1b2c3d4e7b"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
}
