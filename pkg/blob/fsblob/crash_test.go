package fsblob

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
)

// crashDisk is what a file system is sure to have after a power loss: of a file
// the bytes it had when it was made durable last, of a directory the entries.
// All else is lost.
type crashDisk struct {
	mu    sync.Mutex
	root  string
	files map[string][]byte
	dirs  map[string][]fs.DirEntry
}

func (d *crashDisk) flush(f *os.File) error {
	name, err := filepath.Rel(d.root, f.Name())
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if info.IsDir() {
		d.dirs[name], err = os.ReadDir(f.Name())
		return err
	}
	d.files[name], err = os.ReadFile(f.Name())
	return err
}

// crashed is a new directory with what is left.
func (d *crashDisk) crashed(t *testing.T) string {
	t.Helper()
	d.mu.Lock()
	files, dirs := maps.Clone(d.files), maps.Clone(d.dirs)
	d.mu.Unlock()
	to := t.TempDir()
	var restore func(dir string)
	restore = func(dir string) {
		for _, e := range dirs[dir] {
			name := path.Join(dir, e.Name())
			var err error
			if e.IsDir() {
				err = os.Mkdir(filepath.Join(to, name), 0o750)
				restore(name)
			} else {
				err = os.WriteFile(filepath.Join(to, name), files[name], 0o640)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(to, objects), 0o750); err != nil {
		t.Error(err)
	}
	restore(objects)
	return to
}

// record is what package meta would know of a session after a power loss.
type record struct {
	stage  blob.Stage
	sealed bool
}

// Sessions are appended to and sealed. Whenever something was made durable, and
// at every step and every Seal, the power fails: what was recorded is there,
// whatever else was running.
func TestR36_PowerLossAtEveryStep(t *testing.T) {
	r := rand.New(rand.NewPCG(dice.Seed(t), 36))
	d := &crashDisk{root: t.TempDir(), files: make(map[string][]byte), dirs: make(map[string][]fs.DirEntry)}
	s, err := Open(d.root, Options{StepBytes: 3000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	content := make([]byte, 20_000)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	known := make(map[uuid.UUID]record)
	crashes := 0
	check := func() {
		crashes++
		mustSurvive(t, d.crashed(t), known, content)
	}
	s.tree.flush = func(f *os.File) error {
		err := d.flush(f)
		check()
		return err
	}
	for range dice.Count(t, 12, 400) {
		st := blob.Stage{Key: blob.Key{Tenant: r.Int64N(2), Incarnation: uuid.New()}}
		known[st.Key.Incarnation] = record{stage: st}
		for range r.IntN(4) {
			st = known[st.Key.Incarnation].stage
			st.Epoch++
			end := st.Offset + r.Int64N(int64(len(content))-st.Offset+1)
			err := appendBytes(t, s, st, content[st.Offset:end], func(p blob.Progress) error {
				next := st
				next.Offset = p.Offset
				known[st.Key.Incarnation] = record{stage: next}
				check()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(3) == 0 {
			continue // it stays open
		}
		st = known[st.Key.Incarnation].stage
		if _, err := s.Seal(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		known[st.Key.Incarnation] = record{stage: st, sealed: true}
		check()
	}
	t.Logf("%d crashes", crashes)
}

// mustSurvive opens what a power loss has left and expects what was recorded.
func mustSurvive(t *testing.T, dir string, known map[uuid.UUID]record, content []byte) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, k := range known {
		if err := survived(t.Context(), s, k, content); err != nil {
			t.Errorf("%+v: %v", k, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil { // there may be thousands
		t.Error(err)
	}
}

func survived(ctx context.Context, s *Store, k record, content []byte) error {
	if k.stage.Offset == 0 && !k.sealed {
		return nil // nothing is claimed of it
	}
	c, err := s.OpenStaged(ctx, k.stage)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(c, k.stage.Offset))
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, content[:k.stage.Offset]) {
		return errors.New("other bytes than those recorded")
	}
	if k.sealed {
		if n, err := s.Stat(ctx, k.stage.Key); err != nil || n != k.stage.Offset {
			return errors.Join(errors.New("another size than that sealed"), err)
		}
	}
	return nil
}
