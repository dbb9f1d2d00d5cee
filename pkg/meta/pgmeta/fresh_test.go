package pgmeta

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// crowd are rows of the one repository, in tables that have no statistics.
var crowd = []string{
	`INSERT INTO objects (tenant_id, incarnation, state, created_at) SELECT tenant_id, gen_random_uuid(), 'L', now() FROM repositories, generate_series(1, 5000)`,
	`INSERT INTO blobs (tenant_id, digest, size, incarnation)
	 SELECT tenant_id, '\x01'::bytea || sha256(incarnation::text::bytea), 1, incarnation FROM objects WHERE state = 'L' AND size = 0`,
	`INSERT INTO repo_blobs SELECT r.tenant_id, r.id, b.digest FROM repositories r JOIN blobs b USING (tenant_id) ON CONFLICT DO NOTHING`,
	`INSERT INTO manifests (tenant_id, repo_id, digest, media_type, size, artifact_type, annotations, created_at, payload)
	 SELECT r.tenant_id, r.id, '\x01'::bytea || sha256(('m' || i)::bytea), '', 1, '', '{}', now(), '' FROM repositories r, generate_series(1, 5000) i`,
	`INSERT INTO manifest_blobs SELECT m.tenant_id, m.repo_id, m.digest, b.digest, m.repo_id
	   FROM (SELECT *, row_number() OVER () AS n FROM manifests) m JOIN (SELECT *, row_number() OVER () AS n FROM repo_blobs) b USING (n)
	 ON CONFLICT DO NOTHING`,
	`INSERT INTO manifest_children SELECT tenant_id, repo_id, digest, digest FROM manifests`,
	`INSERT INTO tags SELECT tenant_id, repo_id, 'crowd' || row_number() OVER (), digest, 1 FROM manifests`,
	`INSERT INTO tag_history SELECT tenant_id, repo_id, name, 1, manifest, NULL, 'push', '', now() FROM tags`,
	`INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id) SELECT tenant_id, gen_random_uuid(), now(), '', '', '', '' FROM objects`,
	`UPDATE manifests m SET expire_at = now() + interval '1 day' FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
	  WHERE r.tenant_id = m.tenant_id AND r.id = m.repo_id AND g.upstream_id IS NOT NULL`,
	`INSERT INTO cache_tags SELECT tenant_id, repo_id, 'crowd' || row_number() OVER (), digest, NULL, now() FROM manifests WHERE expire_at IS NOT NULL`,
	`INSERT INTO name_claims SELECT tenant_id, registry_id, 'crowd' || i, now() FROM repositories, generate_series(1, 5000) i`,
}

// unfinished are rows that come to an end: staged and condemned objects, and uploads.
var unfinished = []string{
	`INSERT INTO objects (tenant_id, incarnation, state, created_at, delete_after)
	 SELECT r.tenant_id, gen_random_uuid(), s.state, now(), CASE WHEN s.state = 'D' THEN now() + interval '1 day' END
	   FROM repositories r, generate_series(1, 5000), unnest(ARRAY['S', 'D']::"char"[]) AS s (state)`,
	`INSERT INTO uploads (tenant_id, id, repo_id, state, epoch, off, algorithm, incarnation, expires_at)
	 SELECT o.tenant_id, gen_random_uuid(), r.id, 'committed', 1, 1, '', o.incarnation, now() + interval '1 hour' FROM objects o JOIN repositories r USING (tenant_id) WHERE o.state = 'S'`,
}

// TestStatementsFindTheirRowsInAYoungDatabase: on a young database, before the
// first ANALYZE, what a request reads does not grow with its repository. The
// planner knows nothing there, and a statement that leaves it the choice gets
// slower with every push.
func TestStatementsFindTheirRowsInAYoungDatabase(t *testing.T) {
	findTheirRows(t)
}

// TestStatementsFindTheirRowsByOldStatistics: the same where the planner knows of a time
// in which nothing was unfinished, so that an index of that looks empty.
func TestStatementsFindTheirRowsByOldStatistics(t *testing.T) {
	findTheirRows(t, `ANALYZE`)
}

func findTheirRows(t *testing.T, between ...string) {
	const most = 100 // of the 5,000 rows, or more, in each table
	s, r := filled(t, Options{MaxConns: 1})
	cached := cachedImage(t, s, r)
	mustRun(t, s, `SET session_replication_role = replica`)
	for _, statement := range slices.Concat(crowd, between, unfinished) {
		mustRun(t, s, statement)
	}
	mustRun(t, s, `RESET session_replication_role`)
	read := func() int {
		t.Helper()
		mustRun(t, s, `SELECT pg_stat_force_next_flush()`)
		var n int
		err := s.pool.QueryRow(t.Context(), `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_user_tables`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	ctx := t.Context()
	target := r
	target.Name = "target"
	pushBlob(t, s, target, "config")
	var image, fetched oci.Digest
	var content string
	var u meta.Upload
	cause := func() meta.Cause { return meta.Cause{Op: uuid.New()} }
	steps := []struct {
		name string
		run  func() error
	}{
		{"CreateUpload", func() error { var err error; u, err = s.CreateUpload(ctx, r, oci.SHA256); return err }},
		{"TakeUpload", func() error { var err error; u, err = s.TakeUpload(ctx, r, u.ID, 0); return err }},
		{"AdvanceUpload", func() error {
			var err error
			u, err = s.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content))})
			return err
		}},
		{"FindUpload", func() error { _, err := s.FindUpload(ctx, r, u.ID); return err }},
		{"SealUpload", func() error { var err error; u, err = s.SealUpload(ctx, u, digestOf(content)); return err }},
		{"CommitUpload", func() error { _, err := s.CommitUpload(ctx, cause(), u, false); return err }},
		{"CheckBlob", func() error { _, err := s.CheckBlob(ctx, r, digestOf(content)); return err }},
		{"FindBlob", func() error { _, err := s.FindBlob(ctx, r, digestOf(content)); return err }},
		{"MountBlob", func() error { _, err := s.MountBlob(ctx, cause(), r, target, digestOf(content)); return err }},
		{"PutManifest", func() error {
			put := imagePut(r, content, "v1", "v2")
			image = put.Manifest.Digest
			return s.PutManifest(ctx, put)
		}},
		{"FindManifest by tag", func() error { _, err := s.FindManifest(ctx, r, oci.Reference{Tag: "v1"}); return err }},
		{"FindManifest by digest", func() error { _, err := s.FindManifest(ctx, r, oci.Reference{Digest: image}); return err }},
		{"ListReferrers", func() error { _, err := s.ListReferrers(ctx, r, image, "", meta.Page{Size: 10}); return err }},
		{"ListTags", func() error { _, err := s.ListTags(ctx, r, meta.Page{After: "crowd3", Size: 10}); return err }},
		{"ListRepositories", func() error { _, err := s.ListRepositories(ctx, r.Tenant, r.Registry, meta.Page{Size: 10}); return err }},
		{"DeleteTag", func() error { return s.DeleteTag(ctx, cause(), r, "v2") }},
		{"DeleteManifest", func() error {
			return s.DeleteManifest(ctx, meta.ManifestDelete{Repo: r, Digest: image, By: cause(), Referrers: true})
		}},
		{"DeleteBlob", func() error { return s.DeleteBlob(ctx, cause(), r, digestOf(content)) }},
		{"ReapUploads", func() error { _, err := s.ReapUploads(ctx, 10); return err }},
		{"UnlinkBlobs", func() error { _, err := s.UnlinkBlobs(ctx, 10); return err }},
		{"DropBlobs", func() error { _, err := s.DropBlobs(ctx, 10); return err }},
		{"PurgeDeleted", func() error { _, err := s.PurgeDeleted(ctx, 10); return err }},
		{"ClaimCondemned", func() error { _, err := s.ClaimCondemned(ctx, 10); return err }},
		{"ForgetObject", func() error { return s.ForgetObject(ctx, u.Stage.Key) }},
		{"FindSite", func() error {
			_, err := s.FindSite(ctx, tenant.Lookup{TenantSlug: "acme", Registry: "main"})
			return err
		}},
		{"PutCached", func() error {
			put := imagePut(cached, content, "v1")
			fetched = put.Manifest.Digest
			return s.PutCached(ctx, meta.CachedPut{Repo: cached, Manifest: put.Manifest, Parsed: put.Parsed, Tag: "v1", Keep: time.Hour})
		}},
		{"FindCachedTag", func() error { _, err := s.FindCachedTag(ctx, cached, "v1"); return err }},
		{"ConfirmCachedTag", func() error { return s.ConfirmCachedTag(ctx, cached, "v2", fetched) }},
		{"DoubtCachedTags", func() error { return s.DoubtCachedTags(ctx, cached, digestOf(content)) }},
		{"ListCachedTags", func() error {
			_, err := s.ListCachedTags(ctx, cached, time.Time{}, meta.Page{Size: 10})
			return err
		}},
		{"FindNaming", func() error { _, err := s.FindNaming(ctx, cached, digestOf(content)); return err }},
		{"LinkBlob", func() error { _, err := s.LinkBlob(ctx, cached, digestOf("config")); return err }},
		{"RecordPulls", func() error {
			return s.RecordPulls(ctx, []meta.CachedPull{{Repo: cached, Digest: fetched, Keep: 2 * time.Hour}})
		}},
		{"ClaimedBy", func() error { _, err := s.ClaimedBy(ctx, r.Tenant, []tenant.RegistryID{r.Registry}, "app"); return err }},
		{"FindNameClaim", func() error { _, err := s.FindNameClaim(ctx, r); return err }},
		{"ListNameClaims", func() error { _, err := s.ListNameClaims(ctx, r.Tenant, r.Registry, meta.Page{Size: 10}); return err }},
		{"DropCachedTag", func() error { return s.DropCachedTag(ctx, cached, "v2") }},
		{"PurgeCached", func() error { return s.PurgeCached(ctx, cause(), cached, oci.Reference{Digest: fetched}) }},
		{"ExpireCached", func() error {
			put := imagePut(cached, content, "gone")
			err := s.PutCached(ctx, meta.CachedPut{Repo: cached, Manifest: put.Manifest, Parsed: put.Parsed, Tag: "v1"})
			if err != nil {
				return err
			}
			if n, err := s.ExpireCached(ctx, 10); n != 1 || err != nil {
				return fmt.Errorf("%d expired, %w", n, err)
			}
			return nil
		}},
		{"FindTopology", func() error { _, err := s.FindTopology(ctx, r.Tenant); return err }},
		{"CancelUpload", func() error {
			u, err := s.CreateUpload(ctx, r, oci.SHA256)
			if err != nil {
				return err
			}
			return s.CancelUpload(ctx, r, u.ID)
		}},
	}
	for round := range 12 { // a prepared statement gets its lasting plan after five
		content = fmt.Sprintf("content %d", round)
		for _, step := range steps {
			before := read()
			if err := step.run(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if n := read() - before; n > most {
				t.Errorf("round %d: %s reads %d rows", round, step.name, n)
			}
		}
	}
}

// cachedImage is a repository of a cache that holds one image under v0.
func cachedImage(t testing.TB, s *Store, r meta.Repo) meta.Repo {
	t.Helper()
	u, err := s.CreateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, meta.Upstream{Tenant: r.Tenant, Slug: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	cached := meta.Repo{Tenant: r.Tenant, Registry: u.Cache, Name: "library/app"}
	put := imagePut(cached, "config", "v0")
	if err := s.PutCached(t.Context(), meta.CachedPut{Repo: cached, Manifest: put.Manifest, Parsed: put.Parsed, Tag: "v0", Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	return cached
}

func digestOf(content string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(content)) }
