package sqlitemeta

import (
	"strings"
	"testing"

	"github.com/google/uuid"

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
	putImage(t, s, r, pushBlob(t, s, r, "config"), "v1")
	return s, r
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

func putImage(t testing.TB, s *Store, r meta.Repo, config meta.Blob, tags ...string) oci.Digest {
	t.Helper()
	payload := []byte(`{"config":"` + config.Digest.String() + strings.Join(tags, ",") + `"}`)
	d := oci.DigestOf(oci.SHA256, payload)
	err := s.PutManifest(t.Context(), meta.ManifestPut{
		Repo: r, Tags: tags, By: meta.Cause{Op: uuid.New()},
		Manifest: meta.Manifest{Digest: d, MediaType: oci.MediaTypeImageManifest, Payload: payload},
		Parsed:   &oci.Manifest{Blobs: []oci.Descriptor{{Digest: config.Digest, Size: config.Size}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func findings(t *testing.T, s *Store) []string {
	t.Helper()
	var found []string
	if err := s.CheckRows(t.Context(), func(f meta.Finding) { found = append(found, f.Invariant+" "+f.Detail) }); err != nil {
		t.Fatal(err)
	}
	return found
}

// broken is what breaks an invariant in SQLite's own SQL or words.
var broken = []metatest.Broken{
	{SQL: `UPDATE uploads SET expires_at = expires_at + 400000000000000`, Invariant: "I3", Detail: "expires later than any session can"},
	{SQL: `UPDATE objects SET state = 'D', delete_after = 4000000000000000 WHERE state = 'S'`, Invariant: "I3", Detail: "is condemned for later than any can be"},
	{SQL: `INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id) VALUES (1, 'upstream/1/1', '{}', 'active', 1, 0, 0, 1)`, Invariant: "I12", Detail: "not that of upstream 1"},
	{SQL: `INSERT INTO upstreams (tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) VALUES (1, 'ghcr', '{}', '{}', 1, 1, 0, 0)`, Invariant: "I12", Detail: "which is not its cache"},
	{SQL: `UPDATE registries SET kept_for = id`, Invariant: "I12", Detail: "is not a former cache of its upstream"},
	{SQL: `UPDATE registries SET upstream_id = 1`, Invariant: "I13", Detail: "is cached and never expires"},
	{SQL: `UPDATE manifests SET expire_at = 1`, Invariant: "I13", Detail: "is hosted and expires"},
}

// refused is what SQLite's own constraints refuse.
var refused = map[string]string{
	"a digest as text":                             `UPDATE blobs SET digest = 'sha256:00'`,
	"I12 two active caches of one upstream":        `INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id) VALUES (1, 'upstream/1/1', '{}', 'active', 1, 0, 0, 1), (1, 'upstream/1/2', '{}', 'active', 1, 0, 0, 1)`,
	"a cached tag of a manifest that is not there": `INSERT INTO cache_tags (tenant_id, repo_id, name, manifest, checked_at) SELECT tenant_id, id, 'v1', x'01', 0 FROM repositories`,
	"an upstream whose cache is another tenant's":  `INSERT INTO upstreams (tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) SELECT tenant_id, 'ghcr', '{}', '{}', id + 1, 1, 0, 0 FROM registries`,
}
