package metatest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// brokenAnywhere breaks one invariant at a time.
var brokenAnywhere = []Broken{
	{SQL: `DELETE FROM objects WHERE state = 'S'`, Invariant: "I3", Detail: "is open, but its object", Where: &meta.Finding{Place: appPlace, Object: "o/1/"}},
	{SQL: `UPDATE objects SET state = 'D', delete_after = (SELECT min(created_at) FROM tenants) WHERE state = 'L'`, Invariant: "I4", Detail: "in state D"},
	{SQL: `DELETE FROM objects WHERE state = 'L'`, Invariant: "I4", Detail: "in state none", Where: &meta.Finding{Place: appPlace, Digest: digestOf("config").String(), Object: "o/1/"}},
	{SQL: `DELETE FROM repo_blobs`, Invariant: "I5", Detail: "which is not linked there", Where: &meta.Finding{Place: appPlace, Digest: digestOf("config").String()}},
	{SQL: `DELETE FROM manifests`, Invariant: "I6", Detail: "which is not there"},
	{SQL: `UPDATE usage SET used = used + 1`, Invariant: "I7", Detail: "is charged 7 for 6 bytes", Where: &meta.Finding{Place: meta.Place{Tenant: "acme"}}},
	{SQL: `DELETE FROM usage`, Invariant: "I7", Detail: "is charged nothing for 6 bytes"},
	{SQL: `CREATE UNIQUE INDEX wrong ON tags (name, tenant_id)`, Invariant: "I10", Detail: "unique key wrong of tags"},
	{
		SQL: `CREATE UNIQUE INDEX turned ON repositories (id, tenant_id);
CREATE TABLE wrong (tenant_id bigint, tag bigint, FOREIGN KEY (tag, tenant_id) REFERENCES repositories (id, tenant_id))`,
		Invariant: "I10", Detail: "a foreign key of wrong to repositories",
	},
	{SQL: `UPDATE repo_blobs SET keep_until = NULL; DELETE FROM tags; DELETE FROM manifest_blobs`, Invariant: "I13", Detail: "named by no manifest and not marked"},
	{SQL: `UPDATE repositories SET state = 'deleted', listed = FALSE`, Invariant: "I13", Detail: "was deleted, and ends later than any can, or never", Where: &meta.Finding{Place: appPlace}},
	{SQL: `UPDATE blobs SET keep_until = NULL; DELETE FROM manifest_blobs; DELETE FROM repo_blobs`, Invariant: "I13", Detail: "is linked nowhere and not marked"},
}

var appPlace = meta.Place{Tenant: "acme", Repositories: []string{"tenants/acme/registries/main/repositories/app"}}

// testFindings breaks what the store and the schema's constraints keep whole.
func testFindings(t *testing.T, open Open) {
	t.Run("P50 name what is broken, and where", func(t *testing.T) {
		whole, _ := filled(t, open)
		for _, broken := range slices.Concat(brokenAnywhere, whole.SQL.Broken) {
			w, _ := filled(t, open)
			w.consistent()
			w.must(w.SQL.Break(broken.SQL))
			w.finds(broken)
		}
	})
	// What an index held must be there. What it named before that was written
	// down must be, unless the registry lets it miss.
	t.Run("Q13 name an index that misses a manifest", func(t *testing.T) {
		const (
			name  = `INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held) SELECT m.tenant_id, m.repo_id, m.digest, b.digest, `
			from  = ` FROM manifests m, blobs b;`
			allow = `UPDATE registries SET settings = '{"allow_missing_references": true}'`
		)
		for statements, want := range map[string]int{
			name + `true` + from:         1,
			name + `true` + from + allow: 1,
			name + `false` + from:        0,
			name + `NULL` + from:         1,
			name + `NULL` + from + allow: 0,
			name + `true` + from + `UPDATE repositories SET state = 'deleting'`: 0,

			name + `true` + from + `UPDATE repositories SET state = 'deleted', expire_at = created_at`: 1,
		} {
			w, _ := filled(t, open)
			w.must(w.SQL.Exec(statements))
			found := w.findings()
			if len(found) != want || want > 0 && found[0].Invariant != "I5" {
				t.Errorf("after %q: %+v", statements, found)
			}
		}
	})
	t.Run("I13 is repaired by the sweep", func(t *testing.T) {
		w, r := filled(t, open)
		w.push(r, "unnamed")
		sweep := func(want int) {
			t.Helper()
			if n, err := w.Store.SweepUnmarked(t.Context()); err != nil || n != want {
				t.Errorf("marked %d, %v; want %d", n, err, want)
			}
		}
		w.must(w.SQL.Exec(`UPDATE repo_blobs SET keep_until = NULL`))
		sweep(1)
		sweep(0)
		w.consistent()
		w.Advance(meta.DefaultLifetimes.HeadGrace + time.Second)
		if n, err := w.Store.UnlinkBlobs(t.Context(), 10); err != nil || n != 1 {
			t.Errorf("unlinked %d, %v; want 1", n, err)
		}
		w.must(w.SQL.Exec(`UPDATE blobs SET keep_until = NULL`))
		sweep(1)
		w.consistent()
		w.Advance(meta.DefaultLifetimes.HeadGrace + time.Second)
		if n, err := w.Store.DropBlobs(t.Context(), 10); err != nil || n != 1 {
			t.Errorf("dropped %d, %v; want 1", n, err)
		}
	})
}

// filled is a world that holds one tagged image and an open upload.
func filled(t *testing.T, open Open) (world, meta.Repo) {
	t.Helper()
	w := newWorld(t, open)
	r := w.repo("app")
	_, err := w.Store.CreateUpload(t.Context(), r, oci.SHA256)
	w.must(err)
	w.pushImage(r, "v1", "config")
	return w, r
}

func (w world) findings() []meta.Finding {
	w.t.Helper()
	var found []meta.Finding
	w.must(w.Store.CheckRows(w.t.Context(), func(f meta.Finding) { found = append(found, f) }))
	return found
}

// finds fails the test unless what broken broke is found, and only where it did.
func (w world) finds(broken Broken) {
	w.t.Helper()
	all := w.findings()
	found := slices.DeleteFunc(slices.Clone(all), func(f meta.Finding) bool {
		return f.Invariant != broken.Invariant || !strings.Contains(f.Detail, broken.Detail)
	})
	if len(found) == 0 {
		w.t.Errorf("%s after %q: %+v, want %q", broken.Invariant, broken.SQL, all, broken.Detail)
	}
	for _, f := range found {
		if want := broken.Where; want != nil && (f.Tenant != want.Tenant || !slices.Equal(f.Repositories, want.Repositories) || f.Digest != want.Digest ||
			!strings.HasPrefix(f.Object, want.Object) || (f.Object == "") != (want.Object == "")) {
			w.t.Errorf("after %q: %+v, want %+v", broken.SQL, f, want)
		}
	}
}
