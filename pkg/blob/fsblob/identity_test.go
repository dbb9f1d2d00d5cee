package fsblob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/blobtest"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/identity"
)

func TestIdentity(t *testing.T) {
	dirs := map[blob.Store]string{}
	made := func(t testing.TB) blob.Store {
		dir := t.TempDir()
		s := open(t, dir, fsblob.Options{})
		dirs[s] = dir
		return s
	}
	blobtest.TestIdentity(t, made, func(t testing.TB, s blob.Store) {
		if err := os.Remove(filepath.Join(dirs[s], "berth-identity")); err != nil {
			t.Fatal(err)
		}
	})
}

// A directory that is removed under the store is an outage, whatever it is asked.
func TestRemovedDirectoryIsAnOutage(t *testing.T) {
	s, dir := openDir(t)
	id := identity.New()
	if err := s.WriteIdentity(t.Context(), identity.Identity{}, id); err != nil {
		t.Fatal(err)
	}
	s.Expect(id.Deployment)
	k := blob.Key{Tenant: 1, Incarnation: uuid.New()}
	if err := errors.Join(seal(t, s, k), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	_, statted := s.Stat(t.Context(), k)
	_, opened := s.Open(t.Context(), k)
	for what, err := range map[string]error{
		"stat": statted, "open": opened, "ping": s.Ping(t.Context()),
		"append": s.Append(t.Context(), blob.Stage{Key: blob.Key{Tenant: 2, Incarnation: uuid.New()}}, &memory{}, &memory{}),
	} {
		if fault.KindOf(err) != fault.Unavailable || errors.Is(err, blob.ErrMissing) {
			t.Errorf("%s: %v, want an outage", what, err)
		}
	}
}

// What opens an existing directory changes nothing in it, and makes none.
func TestH1_OpenExistingMakesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := fsblob.Open(dir, fsblob.Options{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsblob.Open(dir, fsblob.Options{}); err == nil {
		t.Error("a second owner opens it")
	}
	if err := s.List(t.Context(), func(blob.Stored) error { return errors.New("something is listed") }); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("made %v, %v", entries, err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := fsblob.Open(missing, fsblob.Options{Existing: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
