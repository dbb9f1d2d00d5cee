package pgmeta

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
)

func overhead(t *testing.T, s *Store, r meta.Repo) int64 {
	t.Helper()
	acme, err := s.FindTenantByID(t.Context(), r.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	return acme.Overhead
}

// TestS45_RowsOfDeletedTagsGo: those that a version before kept, and keeps beside
// this one, with their charge.
func TestS45_RowsOfDeletedTagsGo(t *testing.T) {
	s, r := filled(t, Options{})
	put := imagePut(r, "config", "v1", "v2", "v3")
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	before := otherSession{connect(t, s.opts.URL)}
	before.exec(t, `UPDATE tags SET manifest = NULL, version = version + 1 WHERE name IN ('v2', 'v3')`)
	put.Tags, put.By.Op = []string{"v3"}, uuid.New()
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	charged := overhead(t, s, r)
	for _, want := range []int{1, 0} {
		if n, err := s.SettleCharges(t.Context()); err != nil || n != want {
			t.Errorf("%d rows are settled, %v; want %d", n, err, want)
		}
	}
	if now := overhead(t, s, r); now != charged-meta.TagCost {
		t.Errorf("charged %d, and %d before", now, charged)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}

// TestS34_ManyTagsGoInSteps before their manifest does, and one that an index names
// keeps them.
func TestS34_ManyTagsGoInSteps(t *testing.T) {
	s, r := filled(t, Options{})
	d := putImage(t, s, r, "config", "v2")
	const tags = 3 * untagFrom
	other := otherSession{connect(t, s.opts.URL)}
	other.exec(t, fmt.Sprintf(`INSERT INTO tags SELECT g.tenant_id, g.repo_id, 'tag' || n, g.manifest, 1
		FROM tags g, generate_series(1, %d) AS n WHERE g.name = 'v2'`, tags))
	left := func() int {
		found, err := s.ListTags(t.Context(), r, meta.Page{Size: 10 * tags})
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	before := left()
	other.exec(t, `INSERT INTO manifest_children (tenant_id, repo_id, parent, child, held)
		SELECT g.tenant_id, g.repo_id, g.manifest, t.manifest, true FROM tags g, tags t WHERE g.name = 'v1' AND t.name = 'v2'`)
	del := meta.ManifestDelete{Repo: r, Digest: d, By: meta.Cause{Op: uuid.New()}}
	if err := s.DeleteManifest(t.Context(), del); fault.KindOf(err) != fault.Unsupported || left() != before {
		t.Errorf("deletion of what an index names: %v, %d tags of %d", err, left(), before)
	}
	other.exec(t, `DELETE FROM manifest_children`)
	charged := overhead(t, s, r)
	del.By.Op = uuid.New()
	if err := s.DeleteManifest(t.Context(), del); err != nil || left() != before-tags-1 {
		t.Errorf("%v, %d tags of %d", err, left(), before)
	}
	if now := overhead(t, s, r); now > charged-(tags+1)*meta.TagCost {
		t.Errorf("charged %d, and %d before", now, charged)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
}
