package sqlitemeta

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

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

// TestCheckRowsFindsWhatIsBroken breaks one invariant at a time, by hand and
// with the schema's own defences off.
func TestCheckRowsFindsWhatIsBroken(t *testing.T) {
	for _, broken := range []struct {
		invariant  string
		statements []string
		want       string
	}{
		{"I3", []string{`DELETE FROM objects WHERE state = 'S'`}, "is open, but its object"},
		{"I3", []string{`UPDATE uploads SET expires_at = expires_at + 400000000000000`}, "expires later than any session can"},
		{"I3", []string{`UPDATE objects SET state = 'D', delete_after = 4000000000000000 WHERE state = 'S'`}, "is condemned for later than any can be"},
		{"I4", []string{`UPDATE objects SET state = 'D', delete_after = 1 WHERE state = 'L'`}, "in state D"},
		{"I4", []string{`DELETE FROM objects WHERE state = 'L'`}, "in state none"},
		{"I5", []string{`DELETE FROM repo_blobs`}, "which is not linked there"},
		{"I6", []string{`DELETE FROM manifests`}, "which is not there"},
		{"I7", []string{`UPDATE usage SET used = used + 1`}, "is charged 7 for 6 bytes"},
		{"I7", []string{`DELETE FROM usage`}, "is charged nothing for 6 bytes"},
		{"I10", []string{`CREATE UNIQUE INDEX wrong ON tags (name, tenant_id)`}, "unique key wrong of tags"},
		{"I10", []string{`CREATE TABLE wrong (tenant_id INTEGER, tag INTEGER, FOREIGN KEY (tag, tenant_id) REFERENCES repositories (id, tenant_id))`}, "a foreign key of wrong to repositories"},
		{"I13", []string{`UPDATE repo_blobs SET keep_until = NULL`, `DELETE FROM tags`, `DELETE FROM manifest_blobs`}, "named by no manifest and not marked"},
		{"I13", []string{`UPDATE blobs SET keep_until = NULL`, `DELETE FROM manifest_blobs`, `DELETE FROM repo_blobs`}, "is linked nowhere and not marked"},
		{"I12", []string{`INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id) VALUES (1, 'upstream/1/1', '{}', 'active', 1, 0, 0, 1)`}, "not that of upstream 1"},
		{"I12", []string{`INSERT INTO upstreams (tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) VALUES (1, 'ghcr', '{}', '{}', 1, 1, 0, 0)`}, "which is not its cache"},
		{"I13", []string{`UPDATE registries SET upstream_id = 1`}, "is cached and never expires"},
		{"I13", []string{`UPDATE manifests SET expire_at = 1`}, "is hosted and expires"},
	} {
		s, _ := filled(t, Options{})
		if found := findings(t, s); len(found) != 0 {
			t.Fatalf("a whole store has findings: %q", found)
		}
		if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA foreign_keys = 0`); err != nil {
			t.Fatal(err)
		}
		err := s.write(t.Context(), func(tx *tx) error {
			for _, statement := range broken.statements {
				if _, err := tx.exec(statement); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
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
	const miss = `INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held) SELECT tenant_id, repo_id, digest, x'01', `
	const allow = `UPDATE registries SET settings = '{"allow_missing_references":true}'`
	for _, missing := range []struct {
		statements []string
		found      int
	}{
		{[]string{miss + `1 FROM manifests`}, 1},
		{[]string{miss + `1 FROM manifests`, allow}, 1},
		{[]string{miss + `0 FROM manifests`}, 0},
		{[]string{miss + `NULL FROM manifests`}, 1},
		{[]string{miss + `NULL FROM manifests`, allow}, 0},
		{[]string{miss + `1 FROM manifests`, `UPDATE repositories SET state = 'deleting'`}, 0},
	} {
		s, _ := filled(t, Options{})
		for _, statement := range missing.statements {
			err := s.write(t.Context(), func(tx *tx) error {
				_, err := tx.exec(statement)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
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
	for name, statement := range map[string]string{
		"I4 to revive a condemned object":                      `UPDATE objects SET state = 'L', delete_after = NULL WHERE state = 'D'`,
		"I4 to condemn a live object that a blob points to":    `UPDATE objects SET state = 'D', delete_after = 1 WHERE state = 'L'`,
		"to drop a blob that a repository links":               `DELETE FROM blobs`,
		"I5 to unlink a blob that a manifest holds":            `DELETE FROM repo_blobs`,
		"I6 to delete a manifest that a tag points to":         `DELETE FROM manifests`,
		"I7 a negative charge":                                 `UPDATE usage SET used = -1`,
		"to hold a blob through another repository":            `UPDATE manifest_blobs SET held_repo_id = 2`,
		"a repository of no registry":                          `UPDATE repositories SET registry_id = NULL`,
		"a digest as text":                                     `UPDATE blobs SET digest = 'sha256:00'`,
		"to delete a repository that holds anything":           `DELETE FROM repositories`,
		"to delete a registry that holds repositories":         `DELETE FROM registries`,
		"a condemned object that is never due":                 `UPDATE objects SET state = 'D' WHERE state = 'S'`,
		"two active repositories of one name":                  `INSERT INTO repositories (tenant_id, registry_id, name, state, created_at) SELECT tenant_id, registry_id, name, state, 0 FROM repositories`,
		"two events of one operation":                          `INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id) SELECT tenant_id, op, at, actor, verb, target, request_id FROM events`,
		"I12 two active caches of one upstream":                `INSERT INTO registries (tenant_id, slug, settings, state, version, created_at, updated_at, upstream_id) VALUES (1, 'upstream/1/1', '{}', 'active', 1, 0, 0, 1), (1, 'upstream/1/2', '{}', 'active', 1, 0, 0, 1)`,
		"a cached tag of a manifest that is not there":         `INSERT INTO cache_tags (tenant_id, repo_id, name, manifest, checked_at) SELECT tenant_id, id, 'v1', x'01', 0 FROM repositories`,
		"an upstream whose cache is another tenant's":          `INSERT INTO upstreams (tenant_id, slug, settings, status, cache_id, version, created_at, updated_at) SELECT tenant_id, 'ghcr', '{}', '{}', id + 1, 1, 0, 0 FROM registries`,
		"a session's object under another tenant's row of one": `UPDATE blobs SET tenant_id = tenant_id + 1`,
	} {
		s, r := filled(t, Options{})
		u, err := s.CreateUpload(t.Context(), r, oci.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CancelUpload(t.Context(), r, u.ID); err != nil {
			t.Fatal(err)
		}
		err = s.write(t.Context(), func(tx *tx) error {
			_, err := tx.exec(statement)
			return err
		})
		if err == nil {
			t.Errorf("%s is not refused", name)
		}
		if found := findings(t, s); len(found) != 0 {
			t.Errorf("%s left %q", name, found)
		}
	}
}

// TestSweepMarksWhatIsUnmarked breaks I13 and lets the sweep repair it.
func TestSweepMarksWhatIsUnmarked(t *testing.T) {
	c := newClock()
	s, r := filled(t, Options{Now: c.Now})
	pushBlob(t, s, r, "unnamed")
	err := s.write(t.Context(), func(tx *tx) error {
		_, err := tx.exec(`UPDATE repo_blobs SET keep_until = NULL`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.SweepUnmarked(t.Context()); err != nil || n != 1 {
		t.Errorf("marked %d, %v; want 1", n, err)
	}
	if n, err := s.SweepUnmarked(t.Context()); err != nil || n != 0 {
		t.Errorf("marked %d again, %v", n, err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings after the sweep: %q", found)
	}
	c.Advance(meta.DefaultLifetimes.HeadGrace + time.Second)
	if n, err := s.UnlinkBlobs(t.Context(), 10); err != nil || n != 1 {
		t.Errorf("unlinked %d, %v; want 1", n, err)
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
		if _, err := s.writer.conn.ExecContext(t.Context(), `PRAGMA foreign_keys = 0`); err != nil {
			t.Fatal(err)
		}
		err := s.write(t.Context(), func(tx *tx) error {
			_, err := tx.exec(broken.statement)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		err = s.CheckRows(t.Context(), func(f meta.Finding) {
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
