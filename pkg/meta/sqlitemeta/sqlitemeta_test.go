package sqlitemeta

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// empty is the file of an empty store: with it a test need not migrate again.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "sqlitemeta")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "meta.db"))
})

// open opens an empty store, or the one in o.Dir, and closes it with the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
		file, err := empty()
		if err == nil {
			err = os.WriteFile(filepath.Join(o.Dir, "meta.db"), file, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenRefusesADirectoryInUse(t *testing.T) {
	s := open(t, Options{})
	_, err := Open(t.Context(), Options{Dir: s.opts.Dir})
	if err == nil || !strings.Contains(err.Error(), "already in use by another process") {
		t.Fatalf("second Open: %v", err)
	}
}

// A process that is being started has the files of its parent for a moment.
func TestCloseEndsTheLockWhileAnotherProcessHasTheFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := syscall.Dup(int(s.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	err = s.write(t.Context(), func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
		return err
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "schema version 9999, newer than this program's") {
		t.Fatalf("Open of a newer schema: %v", err)
	}
}

// What a store of the version before holds is found, and takes what is new.
func TestOpenBringsTheSchemaForward(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, "meta.db"), "foreign_keys(1)"))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.UpTo(t.Context(), 2)
	for _, statement := range []string{
		`INSERT INTO tenants (slug, display_name, state, epoch, version, created_at, updated_at) VALUES ('acme', '', 'active', 1, 1, 0, 0)`,
		`INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at) VALUES (1, 'main', '{}', 'active', 1, 0, 0)`,
	} {
		if err == nil {
			_, err = db.ExecContext(t.Context(), statement)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Dir: dir})
	if r, err := s.FindRegistry(t.Context(), 1, "main"); err != nil || r.ID != 1 {
		t.Errorf("found %+v, %v", r, err)
	}
	if _, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: 1, Slug: "ghcr"}); err != nil {
		t.Error(err)
	}
}

func TestOpenTwiceInARow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%e")
	for range 2 {
		s, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPragmas(t *testing.T) {
	s := open(t, Options{})
	for pragma, want := range map[string]string{"foreign_keys": "1", "synchronous": "2", "journal_mode": "wal", "busy_timeout": "10000", "temp_store": "2"} {
		var got string
		err := s.write(t.Context(), func(tx *tx) error {
			_, err := tx.find("PRAGMA "+pragma, nil, &got)
			return err
		})
		if err != nil || got != want {
			t.Errorf("PRAGMA %s = %q, %v; want %q", pragma, got, err, want)
		}
	}
	if _, err := s.reader.db.ExecContext(t.Context(), `DELETE FROM events`); err == nil {
		t.Error("the read pool can write")
	}
}

func addRow(tx *tx, n int) error {
	_, err := tx.exec(`INSERT INTO signing_keys (id, algorithm, private, created_at) VALUES (?1, '', x'00', ?2)`, n, tx.now)
	return err
}

func countRows(t *testing.T, s *Store) int {
	t.Helper()
	var n int
	if _, err := s.find(t.Context(), `SELECT count(*) FROM signing_keys`, nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// block keeps the writer busy until the returned function is called, so that
// what is written meanwhile makes one group.
func block(t *testing.T, s *Store) func() error {
	t.Helper()
	started, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.write(context.Background(), func(*tx) error {
			close(started)
			<-release
			return nil
		})
	}()
	<-started
	return func() error {
		close(release)
		return <-done
	}
}

func TestGroupMembersFailAlone(t *testing.T) {
	s := open(t, Options{})
	release := block(t, s)
	wrong := errors.New("wrong")
	errs := make([]error, 60)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			errs[i] = s.write(t.Context(), func(tx *tx) error {
				if err := addRow(tx, i); err != nil {
					return err
				}
				switch i % 4 {
				case 1:
					return wrong
				case 2:
					return addRow(tx, i) // a constraint fails after a statement that did not
				case 3:
					panic("defect")
				}
				return nil
			})
		})
	}
	await.True(t, 30*time.Second, "all wait", func() bool { return s.writer.queue.len() >= len(errs) })
	if err := release(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for i, err := range errs {
		if want := i%4 == 0; (err == nil) != want {
			t.Errorf("member %d: %v", i, err)
		}
	}
	if got := countRows(t, s); got != 15 {
		t.Errorf("%d rows of 15 members that succeeded", got)
	}
}

func TestCancelledBeforeItStarted(t *testing.T) {
	s := open(t, Options{})
	release := block(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.write(ctx, func(tx *tx) error { return addRow(tx, 1) }) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("write: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if got := countRows(t, s); got != 0 {
		t.Errorf("%d rows of a write that was cancelled", got)
	}
}

func TestCancelledAfterItStarted(t *testing.T) {
	s := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.write(ctx, func(tx *tx) error {
		cancel()
		return addRow(tx, 1)
	})
	if err != nil || countRows(t, s) != 1 {
		t.Errorf("write: %v", err)
	}
}

func TestFailedCommitFailsEverybody(t *testing.T) {
	s := open(t, Options{})
	release := block(t, s)
	errs := make([]error, 10)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			errs[i] = s.write(t.Context(), func(tx *tx) error {
				if i == 5 {
					// What a full disk does: the whole transaction is gone.
					return tx.control("ROLLBACK")
				}
				return addRow(tx, i)
			})
		})
	}
	await.True(t, 30*time.Second, "all wait", func() bool { return s.writer.queue.len() >= len(errs) })
	_ = release() // undone or not, depending on how long it took
	all.Wait()
	if errs[5] == nil {
		t.Error("a member whose transaction was gone was told of success")
	}
	rows := 0
	for _, err := range errs {
		if err == nil {
			rows++
		}
	}
	if got := countRows(t, s); got != rows {
		t.Errorf("%d rows, but %d writes were acknowledged", got, rows)
	}
	if err := s.write(t.Context(), func(tx *tx) error { return addRow(tx, 99) }); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

func TestEventTakesEffectOnce(t *testing.T) {
	s := open(t, Options{})
	by := meta.Cause{Op: uuid.New(), Actor: "operator"}
	for i := range 2 {
		err := s.write(t.Context(), func(tx *tx) error {
			if err := tx.event(by, 1, "test", "target"); err != nil {
				return err
			}
			return addRow(tx, i)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := countRows(t, s); got != 1 {
		t.Errorf("the operation took effect %d times", got)
	}
}

func TestSchemaIsStrict(t *testing.T) {
	s := open(t, Options{})
	var loose string
	found, err := s.find(t.Context(), `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict
		AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'`, nil, &loose)
	if err != nil || found {
		t.Errorf("table %q is not strict, %v", loose, err)
	}
}
