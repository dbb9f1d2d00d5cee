package fsblob_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/blob/fsblob"
)

// TestT45_WhatIsReadStays: without its name the file would take space that nothing counts.
func TestT45_WhatIsReadStays(t *testing.T) {
	s := open(t, t.TempDir(), fsblob.Options{})
	k := blob.Key{Tenant: 1, Incarnation: uuid.New()}
	m := &memory{*bytes.NewReader([]byte("content"))}
	if err := s.Append(t.Context(), blob.Stage{Key: k}, m, m); err != nil {
		t.Fatal(err)
	}
	one, err := s.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), k, ""); !errors.Is(err, blob.ErrInUse) {
			t.Errorf("deleted while it is read: %v", err)
		}
		_ = one.Close() // twice: the second one counts nothing
	}
	if got, err := io.ReadAll(other); string(got) != "content" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), k, ""); err != nil {
		t.Errorf("deleted after the last reader: %v", err)
	}
	if _, err := s.Stat(t.Context(), k); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("it is still there: %v", err)
	}
}
