package metatest

import (
	"crypto/sha256"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

// testSchema tests what the database itself does: the last lines of defence
// against a defect of Berth, and a step of an upgrade.
func testSchema(t *testing.T, open Open) {
	t.Run("refuses what would break an invariant", func(t *testing.T) {
		w, r := filled(t, open)
		w.must(w.Store.CancelUpload(t.Context(), r, w.stage(r, "").ID))
		refused := map[string]string{
			"I4 to revive a condemned object":                      `UPDATE objects SET state = 'L', delete_after = NULL WHERE state = 'D'`,
			"I4 to condemn a live object that a blob points to":    `UPDATE objects SET state = 'D', delete_after = (SELECT min(created_at) FROM tenants) WHERE state = 'L'`,
			"to drop a blob that a repository links":               `DELETE FROM blobs`,
			"I5 to unlink a blob that a manifest holds":            `DELETE FROM repo_blobs`,
			"I6 to delete a manifest that a tag points to":         `DELETE FROM manifests`,
			"I7 a negative charge":                                 `UPDATE usage SET used = -1`,
			"to hold a blob through another repository":            `UPDATE manifest_blobs SET held_repo_id = 2`,
			"a repository of no registry":                          `UPDATE repositories SET registry_id = NULL`,
			"a repository in a state of no version":                `UPDATE repositories SET state = 'gone'`,
			"to delete a repository that holds anything":           `DELETE FROM repositories`,
			"to delete a registry that holds repositories":         `DELETE FROM registries`,
			"a condemned object that is never due":                 `UPDATE objects SET state = 'D' WHERE state = 'S'`,
			"two active repositories of one name":                  `INSERT INTO repositories (tenant_id, registry_id, name, state, created_at) SELECT tenant_id, registry_id, name, state, created_at FROM repositories`,
			"two events of one operation":                          `INSERT INTO events (tenant_id, op, at, actor, verb, target, request_id) SELECT tenant_id, op, at, actor, verb, target, request_id FROM events`,
			"a session's object under another tenant's row of one": `UPDATE blobs SET tenant_id = tenant_id + 1`,
		}
		maps.Copy(refused, w.SQL.Refused)
		for name, statement := range refused {
			if err := w.SQL.Exec(statement); err == nil {
				t.Errorf("%s is not refused", name)
			}
			if found := w.findings(); len(found) != 0 {
				t.Errorf("%s left %+v", name, found)
			}
		}
	})
	t.Run("S72 gives up the links that the version before made without proof", func(t *testing.T) {
		w, hosted := filled(t, open)
		cacheOf := func(slug string) meta.Repo {
			return meta.Repo{Tenant: w.tenant, Registry: w.addUpstream(slug, meta.UpstreamSettings{}).Cache, Name: "app"}
		}
		ghcr, quay := cacheOf("ghcr"), cacheOf("quay")
		second := meta.Repo{Tenant: ghcr.Tenant, Registry: ghcr.Registry, Name: "second"}
		secret, sent, own := w.push(hosted, "secret"), w.push(quay, "sent by quay"), w.push(ghcr, "sent by ghcr")
		for _, l := range []struct {
			to meta.Repo
			b  meta.Blob
		}{{ghcr, secret}, {ghcr, sent}, {second, own}} {
			_, err := w.Store.LinkBlob(t.Context(), l.to, l.b.Digest)
			w.must(err)
		}
		text, err := fs.ReadFile(w.SQL.Steps, "0014_rights.sql")
		w.must(err)
		_, step, _ := strings.Cut(string(text), "and linked when it came.\n")
		step, _, _ = strings.Cut(step, "-- The default")
		w.must(w.SQL.Exec(step))
		for _, c := range []struct {
			r    meta.Repo
			b    meta.Blob
			kept bool
		}{{ghcr, secret, false}, {ghcr, sent, false}, {quay, sent, false}, {ghcr, own, true}, {second, own, true}, {hosted, secret, true}} {
			_, err := w.Store.FindBlob(t.Context(), c.r, c.b.Digest)
			if kept := err == nil; kept != c.kept || !kept && !fault.Is(err, fault.BlobUnknown) {
				t.Errorf("%+v holds %s: %v, want %t", c.r, c.b.Digest, err, c.kept)
			}
		}
		w.consistent()
	})
	t.Run("U1 keeps accounts, keys and sites when rules come", func(t *testing.T) {
		w := newWorld(t, open)
		ci := w.addAccount("ci", access.Writer)
		w.addKey("k", "secret")
		at := tenant.Lookup{Host: "acme.reg.example", TenantSlug: "acme", Registry: tenant.MainRegistry}
		site, err := w.Store.FindSite(t.Context(), at)
		w.must(err)
		w.must(w.SQL.Exec(`DROP TABLE access_rules; ALTER TABLE tenants DROP COLUMN access_version;`)) // as it was before
		step, err := fs.ReadFile(w.SQL.Steps, "0023_access_rules.sql")
		w.must(err)
		w.must(w.SQL.Exec(string(step)))
		w.site(at, site)
		w.policy(meta.AccessPolicy{})
		if got, err := w.Store.FindAccountByKey(t.Context(), w.tenant, "ci", sha256.Sum256([]byte("secret"))); err != nil || got.Account != ci || got.Key != "k" {
			t.Errorf("%+v, %v", got, err)
		}
		r := w.rule("rule")
		r.Principals = []string{"serviceAccounts/ci"}
		r = w.addRule(r)
		w.policy(meta.AccessPolicy{Version: 1, Rules: []access.Rule{r.Rule}})
	})
}
