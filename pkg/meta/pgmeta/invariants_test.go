package pgmeta

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/metatest"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/pkg/tenant"
)

// filled is a store that holds one tagged image and an open upload.
func filled(t testing.TB, o Options) (*Store, meta.Repo) {
	t.Helper()
	s := open(t, o)
	return s, fill(t, s)
}

// fill puts them into an empty store, and returns the image's repository.
func fill(t testing.TB, s *Store) meta.Repo {
	t.Helper()
	ctx := t.Context()
	made, err := s.CreateTenant(ctx, meta.Cause{Op: uuid.New()}, meta.Tenant{Slug: "acme"}, tenant.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	main, err := s.FindRegistry(ctx, made.ID, tenant.MainRegistry)
	if err != nil {
		t.Fatal(err)
	}
	r := meta.Repo{Tenant: made.ID, Registry: main.ID, Name: "app"}
	if _, err := s.CreateUpload(ctx, r, oci.SHA256); err != nil {
		t.Fatal(err)
	}
	pushBlob(t, s, r, "config")
	putImage(t, s, r, "config", "v1")
	return r
}

func pushBlob(t testing.TB, s *Store, r meta.Repo, content string) meta.Blob {
	t.Helper()
	ctx := t.Context()
	u, err := s.CreateUpload(ctx, r, oci.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if u, err = s.AdvanceUpload(ctx, u, blob.Progress{Offset: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if u, err = s.SealUpload(ctx, u, oci.DigestOf(oci.SHA256, []byte(content))); err != nil {
		t.Fatal(err)
	}
	b, err := s.CommitUpload(ctx, meta.Cause{Op: uuid.New()}, u, false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// imagePut is an image with one config.
func imagePut(r meta.Repo, config string, tags ...string) meta.ManifestPut {
	d := oci.DigestOf(oci.SHA256, []byte(config))
	payload := []byte(`{"config":"` + d.String() + strings.Join(tags, ",") + `"}`)
	return meta.ManifestPut{
		Repo: r, Tags: tags, By: meta.Cause{Op: uuid.New()},
		Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, payload), MediaType: oci.MediaTypeImageManifest, Payload: payload},
		Parsed:   &oci.Manifest{Blobs: []oci.Descriptor{{Digest: d, Size: int64(len(config))}}},
	}
}

func putImage(t testing.TB, s *Store, r meta.Repo, config string, tags ...string) oci.Digest {
	t.Helper()
	p := imagePut(r, config, tags...)
	if err := s.PutManifest(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p.Manifest.Digest
}

func findings(t *testing.T, s *Store) []string {
	t.Helper()
	var found []string
	if err := s.CheckRows(t.Context(), func(f meta.Finding) { found = append(found, f.Invariant+" "+f.Detail) }); err != nil {
		t.Fatal(err)
	}
	return found
}

// broken is what breaks an invariant in Postgres' own SQL or words.
var broken = []metatest.Broken{
	{SQL: `UPDATE uploads SET expires_at = expires_at + interval '10 years'`, Invariant: "I3", Detail: "expires later than any session can"},
	{SQL: `UPDATE objects SET state = 'D', delete_after = now() + interval '10 years' WHERE state = 'S'`, Invariant: "I3", Detail: "is condemned for later than any can be"},
	{SQL: `UPDATE registries SET kept_for = id`, Invariant: "I12", Detail: "is not a former cache of its upstream"},
	{SQL: `UPDATE registries SET upstream_id = 1`, Invariant: "I13", Detail: "never expires"},
	{SQL: `UPDATE manifests SET expire_at = now()`, Invariant: "I13", Detail: "of repository 1 expires"},
	{SQL: `UPDATE registries SET upstream_id = 1`, Invariant: "I12", Detail: "its upstream 1 does not name it"},
	{SQL: `INSERT INTO upstreams (tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) SELECT tenant_id, 'hub', '{}', '{}', id, 1, now(), now() FROM registries`, Invariant: "I12", Detail: "has no active cache registry"},
}

// TestForeignKeysUseIndexes holds deletes of parents to an index on the
// children that begins with the columns of the key; ostate is always the same.
func TestForeignKeysUseIndexes(t *testing.T) {
	c := connect(t, migrated(t))
	rows, err := c.Query(t.Context(), `
SELECT f.conrelid::regclass || ' ' || f.conname
  FROM pg_constraint f,
       LATERAL (SELECT ARRAY(SELECT a.attnum FROM pg_attribute a
                 WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey) AND a.attname <> 'ostate' ORDER BY 1) AS columns) k
 WHERE f.contype = 'f' AND f.connamespace = current_schema()::regnamespace
   AND NOT EXISTS (SELECT 1 FROM pg_index i
        WHERE i.indrelid = f.conrelid
          AND ARRAY(SELECT unnest(i.indkey[0:cardinality(k.columns) - 1]) ORDER BY 1) = k.columns)`)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(slow) > 0 {
		t.Errorf("no index leads to the rows of %q, %v", slow, err)
	}
}
