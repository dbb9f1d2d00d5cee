package pgmeta

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

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

// TestW21_APurgedManifestLosesItsTagsInSteps, in transactions of at most 500.
func TestW21_APurgedManifestLosesItsTagsInSteps(t *testing.T) {
	s, r := filled(t, Options{})
	var tags []string
	for i := range 1_200 {
		tags = append(tags, fmt.Sprint("t", i))
	}
	put := imagePut(r, "config", "v1")
	put.Tags = tags
	if err := s.PutManifest(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PurgeDigest(t.Context(), meta.DigestPurge{Tenant: r.Tenant, Digest: put.Manifest.Digest, Force: true, By: meta.Cause{Op: uuid.New()}}); err != nil {
		t.Fatal(err)
	}
	var most, deleted int
	err := s.pool.QueryRow(t.Context(), `
SELECT max(n), sum(n) FROM (SELECT count(*) AS n FROM tag_history WHERE manifest IS NULL AND name LIKE 't%' GROUP BY at) AS transactions`).Scan(&most, &deleted)
	if err != nil || most != untagFrom || deleted != len(tags) {
		t.Errorf("%d tags were deleted, %d in one transaction, %v", deleted, most, err)
	}
	if found := findings(t, s); len(found) != 0 {
		t.Errorf("findings: %q", found)
	}
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
