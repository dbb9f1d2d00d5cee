package pgmeta

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/meta"
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
	pushBlob(t, s, r, "config")
	putImage(t, s, r, "config", "v1")
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

// withoutKeys runs statements with the foreign keys and triggers off.
func withoutKeys(t *testing.T, s *Store, statements ...string) {
	t.Helper()
	c := connect(t, s.opts.URL)
	for _, statement := range append([]string{`SET session_replication_role = replica`}, statements...) {
		if _, err := c.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// TestCheckRowsFindsWhatIsBroken breaks one invariant at a time, by hand and
// with the schema's own defences off.
func TestCheckRowsFindsWhatIsBroken(t *testing.T) {
	for _, broken := range []struct {
		invariant  string
		statements []string
		want       string
	}{
		{"I3", []string{`DELETE FROM objects WHERE state = 'S'`}, "is open, but its object"},
		{"I3", []string{`UPDATE uploads SET expires_at = expires_at + interval '10 years'`}, "expires later than any session can"},
		{"I3", []string{`UPDATE objects SET state = 'D', delete_after = now() + interval '10 years' WHERE state = 'S'`}, "is condemned for later than any can be"},
		{"I4", []string{`UPDATE objects SET state = 'D', delete_after = now() WHERE state = 'L'`}, "in state D"},
		{"I4", []string{`DELETE FROM objects WHERE state = 'L'`}, "in state none"},
		{"I5", []string{`DELETE FROM repo_blobs`}, "which is not linked there"},
		{"I6", []string{`DELETE FROM manifests`}, "which is not there"},
		{"I7", []string{`UPDATE usage SET used = used + 1`}, "is charged 7 for 6 bytes"},
		{"I7", []string{`DELETE FROM usage`}, "is charged nothing for 6 bytes"},
		{"I10", []string{`CREATE UNIQUE INDEX wrong ON tags (name, tenant_id)`}, "unique key wrong of tags"},
		{
			"I10",
			[]string{
				`CREATE UNIQUE INDEX turned ON repositories (id, tenant_id)`,
				`CREATE TABLE wrong (tenant_id bigint, tag bigint, FOREIGN KEY (tag, tenant_id) REFERENCES repositories (id, tenant_id))`,
			},
			"a foreign key of wrong to repositories",
		},
		{"I13", []string{`UPDATE repo_blobs SET keep_until = NULL`, `DELETE FROM tags`, `DELETE FROM manifest_blobs`}, "named by no manifest and not marked"},
		{"I13", []string{`UPDATE blobs SET keep_until = NULL`, `DELETE FROM manifest_blobs`, `DELETE FROM repo_blobs`}, "is linked nowhere and not marked"},
		{"I13", []string{`UPDATE registries SET upstream_id = 1`}, "never expires"},
		{"I13", []string{`UPDATE manifests SET expire_at = now()`}, "of repository 1 expires"},
		{"I12", []string{`UPDATE registries SET upstream_id = 1`}, "its upstream 1 does not name it"},
		{"I12", []string{`INSERT INTO upstreams (tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) SELECT tenant_id, 'hub', '{}', '{}', id, 1, now(), now() FROM registries`}, "has no active cache registry"},
	} {
		s, _ := filled(t, Options{})
		if found := findings(t, s); len(found) != 0 {
			t.Fatalf("a whole store has findings: %q", found)
		}
		withoutKeys(t, s, broken.statements...)
		found := findings(t, s)
		if !slices.ContainsFunc(found, func(f string) bool {
			return strings.HasPrefix(f, broken.invariant+" ") && strings.Contains(f, broken.want)
		}) {
			t.Errorf("%s after %q: %q, want %q", broken.invariant, broken.statements, found, broken.want)
		}
	}
}

// TestQ13_IndexesThatMissAManifest: what an index held must be there. What it
// named before that was written down must be, unless the registry lets it miss.
func TestQ13_IndexesThatMissAManifest(t *testing.T) {
	const miss = `INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held) SELECT tenant_id, repo_id, digest, '\x01', `
	const allow = `UPDATE registries SET settings = '{"allow_missing_references": true}'`
	for _, missing := range []struct {
		statements []string
		found      int
	}{
		{[]string{miss + `true FROM manifests`}, 1},
		{[]string{miss + `true FROM manifests`, allow}, 1},
		{[]string{miss + `false FROM manifests`}, 0},
		{[]string{miss + `NULL FROM manifests`}, 1},
		{[]string{miss + `NULL FROM manifests`, allow}, 0},
		{[]string{miss + `true FROM manifests`, `UPDATE repositories SET state = 'deleting'`}, 0},
	} {
		s, _ := filled(t, Options{})
		for _, statement := range missing.statements {
			mustRun(t, s, statement)
		}
		found := findings(t, s)
		if len(found) != missing.found || missing.found > 0 && !strings.HasPrefix(found[0], "I5 ") {
			t.Errorf("after %q: %q", missing.statements, found)
		}
	}
}

// TestSchemaRefuses are the last lines of defence: what the database itself
// does not let a defect of Berth do.
func TestSchemaRefuses(t *testing.T) {
	s, r := filled(t, Options{})
	u, err := s.CreateUpload(t.Context(), r, oci.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CancelUpload(t.Context(), r, u.ID); err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string]string{
		"I4 to revive a condemned object":                      `UPDATE objects SET state = 'L', delete_after = NULL WHERE state = 'D'`,
		"I4 to condemn a live object that a blob points to":    `UPDATE objects SET state = 'D', delete_after = now() WHERE state = 'L'`,
		"to drop a blob that a repository links":               `DELETE FROM blobs`,
		"I5 to unlink a blob that a manifest holds":            `DELETE FROM repo_blobs`,
		"I6 to delete a manifest that a tag points to":         `DELETE FROM manifests`,
		"I7 a negative charge":                                 `UPDATE usage SET used = -1`,
		"to hold a blob through another repository":            `UPDATE manifest_blobs SET held_repo_id = 2`,
		"a repository that is neither hosted nor cached":       `UPDATE repositories SET registry_id = NULL`,
		"to delete a repository that holds anything":           `DELETE FROM repositories`,
		"to delete a registry that holds repositories":         `DELETE FROM registries`,
		"a condemned object that is never due":                 `UPDATE objects SET state = 'D' WHERE state = 'S'`,
		"two active repositories of one name":                  `INSERT INTO repositories (tenant_id, registry_id, name, state, created_at) SELECT tenant_id, registry_id, name, state, now() FROM repositories`,
		"two events of one operation":                          `INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id) SELECT tenant_id, op, at, actor, verb, target, request_id FROM events`,
		"a session's object under another tenant's row of one": `UPDATE blobs SET tenant_id = tenant_id + 1`,
	} {
		if err := run(s, statement); err == nil {
			t.Errorf("%s is not refused", name)
		}
		if found := findings(t, s); len(found) != 0 {
			t.Errorf("%s left %q", name, found)
		}
	}
}

// TestSweepMarksWhatIsUnmarked breaks I13 and lets the sweep repair it.
func TestSweepMarksWhatIsUnmarked(t *testing.T) {
	at := migrated(t)
	c := newClock(t, open(t, Options{URL: at}))
	s, r := filled(t, Options{URL: at})
	b := pushBlob(t, s, r, "unnamed")
	mustRun(t, s, `UPDATE repo_blobs SET keep_until = NULL`)
	if n, err := s.SweepUnmarked(t.Context()); err != nil || n != 1 {
		t.Errorf("marked %d, %v; want 1", n, err)
	}
	if n, err := s.SweepUnmarked(t.Context()); err != nil || n != 0 {
		t.Errorf("marked %d again, %v", n, err)
	}
	mustRun(t, s, `DELETE FROM repo_blobs WHERE digest = $1`, b.Digest.Bytes())
	mustRun(t, s, `UPDATE blobs SET keep_until = NULL`)
	if n, err := s.SweepUnmarked(t.Context()); err != nil || n != 1 {
		t.Errorf("marked %d blobs, %v; want 1", n, err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings after the sweep: %q", found)
	}
	c.Advance(meta.DefaultLifetimes.HeadGrace + time.Second)
	if n, err := s.DropBlobs(t.Context(), 10); err != nil || n != 1 {
		t.Errorf("dropped %d, %v; want 1", n, err)
	}
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

// TestP50_FindingsNameWhereTheyApply: a repository's own name, those of the
// repositories that hold a blob, the digest and the object.
func TestP50_FindingsNameWhereTheyApply(t *testing.T) {
	const app = "tenants/acme/registries/main/repositories/app"
	config := oci.DigestOf(oci.SHA256, []byte("config")).String()
	for _, broken := range []struct {
		statement, want string
		found           meta.Finding
	}{
		{`DELETE FROM repo_blobs`, "which is not linked there", meta.Finding{Invariant: "I5", Place: meta.Place{Tenant: "acme", Repositories: []string{app}}, Digest: config}},
		{`DELETE FROM objects WHERE state = 'L'`, "in state none", meta.Finding{Invariant: "I4", Place: meta.Place{Tenant: "acme", Repositories: []string{app}}, Digest: config, Object: "o/1/"}},
		{`DELETE FROM objects WHERE state = 'S'`, "is open, but", meta.Finding{Invariant: "I3", Place: meta.Place{Tenant: "acme", Repositories: []string{app}}, Object: "o/1/"}},
		{`UPDATE usage SET used = used + 1`, "is charged 7", meta.Finding{Invariant: "I7", Place: meta.Place{Tenant: "acme"}}},
	} {
		s, _ := filled(t, Options{})
		withoutKeys(t, s, broken.statement)
		found := 0
		err := s.CheckRows(t.Context(), func(f meta.Finding) {
			if f.Invariant != broken.found.Invariant || !strings.Contains(f.Detail, broken.want) {
				return
			}
			found++
			if f.Tenant != broken.found.Tenant || !slices.Equal(f.Repositories, broken.found.Repositories) || f.Digest != broken.found.Digest ||
				!strings.HasPrefix(f.Object, broken.found.Object) || (f.Object == "") != (broken.found.Object == "") {
				t.Errorf("after %q: %+v, want %+v", broken.statement, f, broken.found)
			}
		})
		if err != nil || found == 0 {
			t.Errorf("after %q: %d findings, %v", broken.statement, found, err)
		}
	}
}
