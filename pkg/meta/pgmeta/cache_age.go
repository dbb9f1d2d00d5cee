package pgmeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

const lineage = `
WITH RECURSIVE repo AS (
     SELECT r.id
       FROM registries g
       JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
      WHERE g.tenant_id = $1 AND g.id = $2 AND g.state = 'active'),
up (digest) AS (
     SELECT $4::bytea
     UNION
     SELECT c.parent FROM up CROSS JOIN repo JOIN manifest_children c ON c.tenant_id = $1 AND c.repo_id = repo.id AND c.child = up.digest)
SELECT m.digest, m.created_at
  FROM repo CROSS JOIN up JOIN manifests m ON m.tenant_id = $1 AND m.repo_id = repo.id AND m.digest = up.digest
 ORDER BY m.created_at
 LIMIT $5`

// Lineage implements meta.Cache.
func (s *Store) Lineage(ctx context.Context, r meta.Repo, d oci.Digest) ([]meta.Seen, error) {
	return collect(ctx, s, r.Tenant, func(scan scan) (meta.Seen, error) {
		var one meta.Seen
		err := scan(digestScanner{&one.Digest}, timeScanner{&one.At})
		return one, err
	}, lineage, r.Tenant, r.Registry, r.Name, d.Bytes(), meta.MaxLineage)
}
