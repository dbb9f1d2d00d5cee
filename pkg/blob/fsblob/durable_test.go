package fsblob

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/fault"
)

// disk records what was made durable, in order, and can fail.
type disk struct {
	mu      sync.Mutex
	root    string
	flushed []string
	fail    error
}

func (d *disk) flush(f *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	name, err := filepath.Rel(d.root, f.Name())
	d.flushed = append(d.flushed, name)
	return errors.Join(err, f.Sync())
}

func (d *disk) durable(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.flushed, name)
}

func openOn(t *testing.T, d *disk) *Store {
	d.root = t.TempDir()
	s, err := Open(d.root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.tree.flush = d.flush
	return s
}

// plain is a source without a hash and a journal that asks step.
type plain struct {
	bytes.Reader
	step func(blob.Progress) error
}

func (p *plain) Mark() ([]byte, error)                                { return nil, nil }
func (p *plain) Intend(context.Context, blob.Key) error               { return nil }
func (p *plain) Multipart(context.Context, string) error              { return nil }
func (p *plain) Step(_ context.Context, progress blob.Progress) error { return p.step(progress) }

func appendBytes(t *testing.T, s *Store, st blob.Stage, b []byte, step func(blob.Progress) error) error {
	p := &plain{step: step}
	p.Reset(b)
	return s.Append(t.Context(), st, p, p)
}

// What a step claims survives a power loss: the bytes, the file's name and
// every directory above it are durable before.
func TestR36_NamesAreDurableBeforeStep(t *testing.T) {
	var d disk
	s := openOn(t, &d)
	for _, id := range []string{
		"00000000-0000-4000-8000-0000000000a1",
		"00000000-0000-4000-8000-0000000000a2",
		"10000000-0000-4000-8000-0000000000a1", // the shard is there already
	} {
		st := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.MustParse(id)}}
		steps := 0
		err := appendBytes(t, s, st, []byte("bytes"), func(blob.Progress) error {
			steps++
			for p := pathOf(st.Key); p != "."; p = filepath.Dir(p) {
				if !d.durable(p) {
					t.Errorf("%s is not durable at the step", p)
				}
			}
			return nil
		})
		if err != nil || steps != 1 {
			t.Errorf("append: %v, %d steps, want 1", err, steps)
		}
	}
}

// An empty blob has no step; its name is durable when Seal returns.
func TestR36_EmptyBlobIsDurableWhenSealed(t *testing.T) {
	var d disk
	s := openOn(t, &d)
	st := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.New()}}
	if _, err := s.Seal(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	for p := pathOf(st.Key); p != "."; p = filepath.Dir(p) {
		if !d.durable(p) {
			t.Errorf("%s is not durable", p)
		}
	}
}

// Nothing is recorded that the disk did not take, and the store continues when
// the disk does.
func TestR35_FailedFlushRecordsNothing(t *testing.T) {
	var d disk
	s := openOn(t, &d)
	st := blob.Stage{Key: blob.Key{Tenant: 1, Incarnation: uuid.New()}}
	never := func(p blob.Progress) error {
		t.Errorf("step to %d though nothing is durable", p.Offset)
		return nil
	}
	d.fail = errors.New("input/output error")
	if err := appendBytes(t, s, st, []byte("bytes"), never); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("append: %v, want unavailable", err)
	}
	if _, err := s.Seal(t.Context(), st); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("seal: %v, want unavailable", err)
	}
	d.fail = nil
	var got int64
	err := appendBytes(t, s, st, []byte("bytes"), func(p blob.Progress) error { got = p.Offset; return nil })
	if err != nil || got != 5 {
		t.Errorf("append after the disk recovered: %v, offset %d", err, got)
	}
}
