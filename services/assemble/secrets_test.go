package assemble

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
)

const sealedFor = "tenants/1/upstreams/ghcr/password"

func TestTheKeyOfPasswordsOutlivesRestarts(t *testing.T) {
	c := boot.Default()
	c.DataDir = t.TempDir()
	first, err := keyring(c)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Seal("hunter2", sealedFor)
	if err != nil {
		t.Fatal(err)
	}
	second, err := keyring(c)
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
	third, err := keyring(c)
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
	if _, err := keyring(c); err == nil || !strings.Contains(err.Error(), secretKeyFile) {
		t.Errorf("%v", err)
	}
}

func TestServersWithoutAKeyKeepNoPasswords(t *testing.T) {
	c := boot.Default()
	c.DataDir, c.Meta = t.TempDir(), boot.NewURL("postgres://db/berth")
	ring, err := keyring(c)
	if err != nil || !ring.Empty() {
		t.Errorf("%v, %v", ring, err)
	}
	if files, err := os.ReadDir(c.DataDir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}
