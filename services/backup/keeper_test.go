package backup

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-registry/berth/pkg/fault"
)

// TestU119_ABackupEndsWithItsEvent: one whose end cannot be recorded is held on, and ends
// once.
func TestU119_ABackupEndsWithItsEvent(t *testing.T) {
	dir := t.TempDir()
	k, err := NewKeeper(Config{Dir: dir, Log: slog.New(slog.DiscardHandler), Snapshot: func(_ context.Context, file string) error {
		return os.WriteFile(file, []byte("metadata"), 0o600)
	}})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := k.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snapshot := filepath.Join(dir, k.Snapshot(id))
	down := errors.New("the database is away")
	err = k.End(id, func() error {
		if !k.Held() {
			t.Error("it is not held while its end is recorded")
		}
		if err := k.End(id, func() error { t.Error("it ends twice"); return nil }); !fault.Is(err, fault.ResourceUnknown) {
			t.Errorf("a second end at once: %v", err)
		}
		return down
	})
	if _, lost := os.Stat(snapshot); !errors.Is(err, down) || lost != nil || !k.Held() {
		t.Errorf("held %t after its end was not recorded: %v, %v", k.Held(), err, lost)
	}
	if _, err := k.Renew(id); err != nil {
		t.Errorf("it cannot be renewed: %v", err)
	}
	recorded := 0
	err = k.End(id, func() error { recorded++; return nil })
	if _, lost := os.Stat(snapshot); err != nil || !errors.Is(lost, os.ErrNotExist) || k.Held() || recorded != 1 {
		t.Errorf("held %t after its end, recorded %d times: %v, %v", k.Held(), recorded, err, lost)
	}
	if err := k.End(id, func() error { t.Error("a missing one is recorded"); return nil }); !fault.Is(err, fault.ResourceUnknown) {
		t.Error(err)
	}
}
