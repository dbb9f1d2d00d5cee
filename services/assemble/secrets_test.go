package assemble

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
)

const sealedFor = "tenants/1/upstreams/ghcr/password"

func TestTheKeyOfPasswordsOutlivesRestarts(t *testing.T) {
	c := boot.Default()
	c.DataDir = t.TempDir()
	first, err := keyring(c, nothingSealed)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Seal("hunter2", sealedFor)
	if err != nil {
		t.Fatal(err)
	}
	second, err := keyring(c, nothingSealed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second.Open(sealed, sealedFor); err != nil || got != "hunter2" {
		t.Errorf("%q, %v", got, err)
	}
	file := filepath.Join(c.DataDir, secretKeyFile)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}

	if files, err := os.ReadDir(c.DataDir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}

	// From the key in the directory to one that is configured.
	made, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c.SecretKey = boot.NewSecret("a key that the operator chose")
	c.OldSecretKey = boot.NewSecret(strings.TrimSpace(string(made)))
	third, err := keyring(c, nothingSealed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := third.Open(sealed, sealedFor); err != nil || got != "hunter2" || !third.Stale(sealed) {
		t.Errorf("%q, %v, stale %v", got, err, third.Stale(sealed))
	}
}

// An emptied file is not taken for a first start: what was sealed with the key
// that it held would be lost without a word.
func TestAnEmptyKeyFileIsNoFirstStart(t *testing.T) {
	c := boot.Default()
	c.DataDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.DataDir, secretKeyFile), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring(c, nothingSealed); err == nil || !strings.Contains(err.Error(), secretKeyFile) {
		t.Errorf("%v", err)
	}
}

func TestServersWithoutAKeyKeepNoPasswords(t *testing.T) {
	c := boot.Default()
	c.DataDir, c.Meta = t.TempDir(), boot.NewURL("postgres://db/berth")
	ring, err := keyring(c, nothingSealed)
	if err != nil || !ring.Empty() {
		t.Errorf("%v, %v", ring, err)
	}
	if files, err := os.ReadDir(c.DataDir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}

func nothingSealed() (string, error) { return "", nil }

// TestN14_ALostKeyIsNotMadeAnew where something was sealed with it, and a key or a
// token that can be guessed is refused.
func TestN14_ALostKeyIsNotMadeAnew(t *testing.T) {
	c := boot.Default()
	c.DataDir = t.TempDir()
	start := func() error {
		c.DataAddr, c.AdminAddr, c.AdminGRPCAddr, c.InternalAddr, c.OpsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		d, err := New(t.Context(), c, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		return d.Run(ctx)
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(c.DataDir, secretKeyFile)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil { // nothing was sealed with it
		t.Fatal(err)
	}

	store, err := sqlitemeta.Open(t.Context(), sqlitemeta.Options{Dir: c.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	tn, err := store.FindTenant(t.Context(), defaultTenant)
	if err == nil {
		var u meta.Upstream
		u, err = store.FindUpstream(t.Context(), tn.ID, "ghcr")
		u.Settings.Username, u.Settings.Password = "bot", []byte("sealed")
		_, _ = store.UpdateUpstream(t.Context(), meta.Cause{Op: uuid.New(), Actor: "test"}, u, false)
	}
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil { // the key is there
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	err = start()
	for _, want := range []string{key, "tenants/default/upstreams/ghcr", "secret_key_file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("another key was made")
	}

	c.SecretKey = boot.NewSecret("a key that the operator chose")
	if err := os.WriteFile(filepath.Join(c.DataDir, operatorTokenFile), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(); err == nil || !strings.Contains(err.Error(), "has 1 characters") || !strings.Contains(err.Error(), "openssl rand -hex 32") {
		t.Errorf("a token of one character: %v", err)
	}
}
