package fsblob_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
)

func openDir(t *testing.T) (*fsblob.Store, string) {
	t.Helper()
	dir := t.TempDir()
	return open(t, dir, fsblob.Options{}), dir
}

// seal stores an empty object.
func seal(t *testing.T, s *fsblob.Store, k blob.Key) error {
	_, err := s.Seal(t.Context(), blob.Stage{Key: k})
	return err
}

func TestOpenRefusesASecondOwner(t *testing.T) {
	dir := t.TempDir()
	first, err := fsblob.Open(dir, fsblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = fsblob.Open(dir, fsblob.Options{})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("second open: %v, want a sentence that names the directory and why", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := fsblob.Open(dir, fsblob.Options{})
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenNamesTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fsblob.Open(file, fsblob.Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("open of a file: %v, want a sentence that names it", err)
	}
}

func TestListReportsForeignFiles(t *testing.T) {
	s, dir := openDir(t)
	k := blob.Key{Tenant: 1, Incarnation: uuid.MustParse("00000000-0000-4000-8000-0000000000ab")}
	if err := seal(t, s, k); err != nil {
		t.Fatal(err)
	}
	foreign := map[string]bool{
		"README":      true,
		"o/notes.txt": true,
		"o/1/ab/00000000-0000-4000-8000-0000000000cd":     true, // the wrong shard
		"o/1/ab/00000000-0000-4000-8000-0000000000AB":     true, // not how we spell it
		"o/1/ab/00000000-0000-4000-8000-0000000000ab.tmp": true,
		"o/01": true, // a whole directory
	}
	for name := range foreign {
		p := filepath.Join(dir, name)
		if name == "o/01" {
			p = filepath.Join(p, "ab", "file")
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var keys []blob.Key
	err := s.List(t.Context(), func(o blob.Stored) error {
		switch {
		case o.Foreign == "":
			keys = append(keys, o.Key)
		case !foreign[o.Foreign]:
			t.Errorf("%q reported as foreign", o.Foreign)
		}
		delete(foreign, o.Foreign)
		return nil
	})
	if err != nil || len(foreign) > 0 || len(keys) != 1 || keys[0] != k {
		t.Errorf("list: %v, keys %v, not reported %v", err, keys, foreign)
	}
}

// Links planted in the directory lead nowhere outside of it.
func TestF6_PlantedLinks(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := blob.Key{Tenant: 1, Incarnation: uuid.MustParse("00000000-0000-4000-8000-0000000000ab")}
	for link, target := range map[string]string{
		"o/1/ab/" + k.Incarnation.String(): secret,
		"o/1/ab":                           outside,
		"o/1":                              outside,
	} {
		t.Run(link, func(t *testing.T) {
			s, dir := openDir(t)
			p := filepath.Join(dir, link)
			if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, p); err != nil {
				t.Fatal(err)
			}
			if err := seal(t, s, k); err == nil {
				t.Error("sealed through a link")
			}
			if c, err := s.Open(t.Context(), k); err == nil {
				t.Errorf("opened through a link: %d bytes", c.Size())
			}
			if _, err := s.Stat(t.Context(), k); err == nil {
				t.Error("examined through a link")
			}
			// It may remove the link or refuse; what counts is what is outside.
			t.Logf("delete: %v", s.Delete(t.Context(), k, ""))
			entries, err := os.ReadDir(outside)
			if err != nil || len(entries) != 1 {
				t.Errorf("outside: %v, %v; want the secret alone", entries, err)
			}
			if got, err := os.ReadFile(secret); err != nil || string(got) != "untouched" {
				t.Errorf("secret: %q, %v", got, err)
			}
		})
	}
}
