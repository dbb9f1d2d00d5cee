package sqlitemeta

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

// TestS72_LinksThatProveNothingAreGivenUp runs the step of the schema that does,
// on links as the version before made them.
func TestS72_LinksThatProveNothingAreGivenUp(t *testing.T) {
	dir := t.TempDir()
	s, hosted := filled(t, Options{Dir: dir})
	cacheOf := func(slug string) meta.Repo {
		u, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: hosted.Tenant, Slug: slug})
		if err != nil {
			t.Fatal(err)
		}
		return meta.Repo{Tenant: hosted.Tenant, Registry: u.Cache, Name: "app"}
	}
	ghcr, quay := cacheOf("ghcr"), cacheOf("quay")
	second := meta.Repo{Tenant: ghcr.Tenant, Registry: ghcr.Registry, Name: "second"}
	secret := pushBlob(t, s, hosted, "secret")
	sent := pushBlob(t, s, quay, "sent by quay")
	own := pushBlob(t, s, ghcr, "sent by ghcr")
	for _, l := range []struct {
		to meta.Repo
		b  meta.Blob
	}{{ghcr, secret}, {ghcr, sent}, {second, own}} {
		if _, err := s.LinkBlob(t.Context(), l.to, l.b.Digest); err != nil {
			t.Fatal(err)
		}
	}
	text, err := migrations.SQLite.ReadFile("sqlite/0014_rights.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, step, _ := strings.Cut(string(text), "CREATE TEMP TABLE")
	step, _, _ = strings.Cut(step, "-- The default")
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, "meta.db"), "foreign_keys(1)"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TEMP TABLE"+step); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r    meta.Repo
		b    meta.Blob
		kept bool
	}{{ghcr, secret, false}, {ghcr, sent, false}, {quay, sent, false}, {ghcr, own, true}, {second, own, true}, {hosted, secret, true}} {
		_, err := s.FindBlob(t.Context(), c.r, c.b.Digest)
		if kept := err == nil; kept != c.kept || !kept && !fault.Is(err, fault.BlobUnknown) {
			t.Errorf("%+v holds %s: %v, want %t", c.r, c.b.Digest, err, c.kept)
		}
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings after it: %q", found)
	}
}
