package sqlitemeta

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/berth-registry/berth/migrations"
	"github.com/berth-registry/berth/pkg/meta"
)

// older is what a version that knew no charges left: in app, which is hosted, an
// image of blob 1 with a tag, and another that was deleted; in lib, which is cached, an image of blobs 1 and 2.
var older = []string{
	`INSERT INTO tenants (id, slug, display_name, state, epoch, version, created_at, updated_at) VALUES (1, 'acme', '', 'active', 1, 1, 1, 1)`,
	`INSERT INTO usage (tenant_id, used, lim) VALUES (1, 15, 100)`,
	`INSERT INTO registries (id, tenant_id, slug, settings, state, version, created_at, updated_at) VALUES (1, 1, 'main', '{}', 'active', 1, 1, 1)`,
	`INSERT INTO registries (id, tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id) VALUES (2, 1, 'upstream/1/1', '{}', 'active', 1, 1, 1, 1)`,
	`INSERT INTO upstreams (id, tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) VALUES (1, 1, 'hub', '{}', '{}', 2, 1, 1, 1)`,
	`INSERT INTO repositories (id, tenant_id, registry_id, name, state, listed, created_at) VALUES (1, 1, 1, 'app', 'active', 1, 1), (2, 1, 2, 'lib', 'active', 1, 1)`,
	`INSERT INTO name_claims VALUES (1, 1, 'app', 1)`,
	`INSERT INTO objects (tenant_id, incarnation, state, size, created_at) VALUES (1, unhex('00000000000000000000000000000001'), 'L', 5, 1), (1, unhex('00000000000000000000000000000002'), 'L', 10, 1)`,
	`INSERT INTO blobs (tenant_id, digest, size, incarnation) VALUES
	 (1, unhex('01' || printf('%064d', 1)), 5, unhex('00000000000000000000000000000001')), (1, unhex('01' || printf('%064d', 2)), 10, unhex('00000000000000000000000000000002'))`,
	`INSERT INTO repo_blobs (tenant_id, repo_id, digest) VALUES (1, 1, unhex('01' || printf('%064d', 1))), (1, 2, unhex('01' || printf('%064d', 1))), (1, 2, unhex('01' || printf('%064d', 2)))`,
	`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload, expire_at) VALUES
	 (1, 1, unhex('01' || printf('%064d', 3)), 'm', 2, '', '{}', 1, x'6162', NULL), (1, 2, unhex('01' || printf('%064d', 4)), 'm', 3, '', '{}', 1, x'616263', 9223372036854775)`,
	`INSERT INTO manifest_blobs VALUES (1, 1, unhex('01' || printf('%064d', 3)), unhex('01' || printf('%064d', 1)), 1),
	 (1, 2, unhex('01' || printf('%064d', 4)), unhex('01' || printf('%064d', 1)), NULL), (1, 2, unhex('01' || printf('%064d', 4)), unhex('01' || printf('%064d', 2)), NULL)`,
	`INSERT INTO tags VALUES (1, 1, 'v1', unhex('01' || printf('%064d', 3)), 1), (1, 1, 'deleted', NULL, 2)`,
	`INSERT INTO cache_tags (tenant_id, repo_id, name, manifest, checked_at) VALUES (1, 2, 'v1', unhex('01' || printf('%064d', 4)), 1)`,
}

// TestS41_WhatAnOlderVersionLeftIsCharged by the step of the schema, except for
// references, which are counted later, a page at a time. The tenant is above its
// quota by then.
func TestS41_WhatAnOlderVersionLeftIsCharged(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, FileName), "foreign_keys(1)"))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	for _, statement := range older {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	s := open(t, Options{Dir: dir, Now: newClock().Now})
	sound := func(overhead, cached int64) {
		t.Helper()
		acme, err := s.FindTenant(t.Context(), "acme")
		if err != nil || acme.Used != 15 || acme.Overhead != overhead || acme.Cached != cached {
			t.Errorf("charged %d, %d, %d, %v; want 15, %d, %d", acme.Used, acme.Overhead, acme.Cached, err, overhead, cached)
		}
		if err := s.CheckRows(t.Context(), func(f meta.Finding) { t.Errorf("%s: %s", f.Invariant, f.Detail) }); err != nil {
			t.Error(err)
		}
	}
	hosted := int64(meta.BlobCost + meta.RepositoryCost + meta.NameClaimCost + meta.TagCost + meta.ManifestCost + 2)
	cached := int64(meta.BlobCost + meta.RepositoryCost + meta.TagCost + meta.ManifestCost + 3)
	sound(hosted+meta.TagCost+cached, cached+10)
	for _, want := range []int{3, 0} {
		if n, err := s.SettleCharges(t.Context()); err != nil || n != want {
			t.Errorf("%d rows are settled, %v; want %d", n, err, want)
		}
	}
	sound(hosted+cached+3*meta.ReferenceCost, cached+10+2*meta.ReferenceCost)
}
