package sqlitemeta

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/identity"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// contents are the files of a directory by name, and what is in them, except for the
// index of the log, which SQLite makes again.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][32]byte{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = sha256.Sum256(text)
	}
	return out
}

// What is opened to be read is read, and nothing in the directory changes.
func TestH1_ReadOnlyChangesNothing(t *testing.T) {
	s, r := filled(t, Options{})
	dir := s.opts.Dir
	id, err := s.ClaimIdentity(t.Context(), identity.New())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("opened beside a server: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	ro, err := Open(t.Context(), Options{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ro.FindIdentity(t.Context()); err != nil || got != id {
		t.Errorf("found %v, %v", got, err)
	}
	if rows, err := ro.ListObjects(t.Context(), blob.Key{}, 10); err != nil || len(rows) == 0 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if err := ro.CheckRows(t.Context(), func(f meta.Finding) { t.Error(f) }); err != nil {
		t.Error(err)
	}
	if err := ro.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := ro.CreateTenant(t.Context(), meta.Cause{Op: uuid.New()}, meta.Tenant{Slug: "more"}, tenant.Settings{}); err == nil {
		t.Error("a tenant was made")
	}
	if err := ro.MarkSuspect(t.Context(), meta.Blob{Key: blob.Key{Tenant: int64(r.Tenant)}}); err == nil {
		t.Error("a row was changed")
	}
	if err := ro.Close(); err != nil {
		t.Fatal(err)
	}
	if after := contents(t, dir); !reflect.DeepEqual(after, before) {
		t.Errorf("changed: %v, before %v", after, before)
	}
}

// What a killed process left in its log is read, too.
func TestReadOnlyReadsALogThatWasLeft(t *testing.T) {
	s, _ := filled(t, Options{})
	left := t.TempDir()
	for _, name := range []string{"meta.db", "meta.db-wal"} {
		text, err := os.ReadFile(filepath.Join(s.opts.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(left, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ro, err := Open(t.Context(), Options{Dir: left, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := ro.ListObjects(t.Context(), blob.Key{}, 10); err != nil || len(rows) == 0 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if err := ro.Close(); err != nil {
		t.Error(err)
	}
}

// What is not this program's database is refused with a sentence, and stays as
// it is.
func TestReadOnlyRefuses(t *testing.T) {
	older := func(dir string) error {
		s, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			return err
		}
		err = s.write(t.Context(), func(tx *tx) error {
			_, err := tx.exec(`DELETE FROM goose_db_version WHERE version_id > 3`)
			return err
		})
		if err != nil {
			return err
		}
		return s.Close()
	}
	for _, c := range []struct {
		what, want string
		fill       func(dir string) error
	}{
		{"an empty directory", "there is no database in data_dir", func(string) error { return nil }},
		{"an empty file", "it is not a database of Berth", func(dir string) error { return os.WriteFile(filepath.Join(dir, FileName), nil, 0o600) }},
		{"another file", "it is not a database of Berth", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("notes ", 1000)), 0o600)
		}},
		{"an older schema", "its schema version is 3, older than this program's", older},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.fill(dir); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			_, err := Open(t.Context(), Options{Dir: dir, ReadOnly: true})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v, want a sentence with %q", err, c.want)
			}
			if after := contents(t, dir); !reflect.DeepEqual(after, before) {
				t.Errorf("changed: %v, before %v", after, before)
			}
		})
	}
}
