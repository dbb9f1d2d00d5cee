package janitor_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlitemeta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/retention/retentiontest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/evaluate"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// fillTags copies the only image of a repository 100,000 times, each under a version.
const fillTags = `
CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, unhex(printf('01%064x', i)) AS digest FROM n;
CREATE TEMP TABLE one AS SELECT * FROM manifests;
INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload)
SELECT one.tenant_id, one.repo_id, n.digest, one.media_type, one.size, one.artifact_type, one.annotations, one.created_at - n.i * 60000000, one.payload FROM n, one;
INSERT INTO manifest_blobs (tenant_id, repo_id, manifest, digest, held_repo_id)
SELECT b.tenant_id, b.repo_id, n.digest, b.digest, b.held_repo_id FROM n, manifest_blobs b, one WHERE b.manifest = one.digest;
INSERT INTO tags (tenant_id, repo_id, name, manifest, version)
SELECT one.tenant_id, one.repo_id, printf('%d.%d.%d', n.i / 10000, n.i / 100 % 100, n.i % 100) || CASE n.i % 4 WHEN 0 THEN '' WHEN 1 THEN '-alpine' WHEN 2 THEN '-RC1' ELSE '-SNAPSHOT' END, n.digest, 1 FROM n, one;
INSERT INTO manifest_pulls (tenant_id, repo_id, digest, pulled_at, pulls) SELECT one.tenant_id, one.repo_id, n.digest, one.created_at - n.i * 30000000, 1 FROM n, one`

// BenchmarkW137_Evaluate100000TagsOfAStore reads and evaluates a repository. B/op is the bound
// of its memory.
func BenchmarkW137_Evaluate100000TagsOfAStore(b *testing.B) {
	d := fronttest.NewWith(b, sqlitemeta.Options{})
	repo := fronttest.Repo(d.Tenant("acme", tenant.Settings{}), "app")
	d.PutBlob(repo, []byte("layer"))
	d.PutBlob(repo, []byte("{}"))
	d.PutManifest(repo, ocitest.Manifest(ocitest.Empty(), ocitest.Layer([]byte("layer"))).Bytes)
	db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(d.Dir), "meta.db"))
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(b.Context(), fillTags); err != nil {
		b.Fatal(err)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	policy := retentiontest.SeedRule
	t, err := evaluate.Open(b.Context(), d.Meta, repo.Tenant)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	accounting := meta.PullAccounting{Since: now.AddDate(-1, 0, 0), KnownAt: now}
	b.ReportAllocs()
	for b.Loop() {
		e, err := t.Evaluate(b.Context(), policy, repo, tenant.MainRegistry, accounting.Moment(now))
		if err != nil || len(e.Content.Tags) != 100_000 || len(e.Deletions) == 0 {
			b.Fatalf("%d tags, %d deletions, %v", len(e.Content.Tags), len(e.Deletions), err)
		}
		if bases := policy.Bases(e.Result); len(bases.Of(e.Deletions[0]).Pulled) != 1 {
			b.Fatal("no basis")
		}
	}
}
