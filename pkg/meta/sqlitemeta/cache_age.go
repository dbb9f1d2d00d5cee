package sqlitemeta

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/meta/sqlmeta"
	"github.com/berth-registry/berth/pkg/oci"
)

const lineage = `
WITH RECURSIVE repo (id) AS (
     SELECT r.id` + activeRegistry + ofRepo + `),
up (digest) AS (
     SELECT ?4
     UNION
     SELECT c.parent FROM up CROSS JOIN repo CROSS JOIN manifest_children c ON c.tenant_id = ?1 AND c.repo_id = repo.id AND c.child = up.digest)
SELECT m.digest, m.created_at
  FROM repo CROSS JOIN up CROSS JOIN manifests m ON m.tenant_id = ?1 AND m.repo_id = repo.id AND m.digest = up.digest
 LIMIT ?5`

// Lineage implements meta.Cache.
func (s *Store) Lineage(ctx context.Context, r meta.Repo, d oci.Digest) ([]meta.Seen, error) {
	var found []meta.Seen
	err := s.list(ctx, lineage, []any{r.Tenant, r.Registry, r.Name, d.Bytes(), meta.MaxLineage}, func(scan scan) error {
		var one meta.Seen
		err := scan(digestScanner{&one.Digest}, sqlmeta.ScanTime(&one.At))
		found = append(found, one)
		return err
	})
	slices.SortFunc(found, func(a, b meta.Seen) int { return a.At.Compare(b.At) })
	return found, err
}
