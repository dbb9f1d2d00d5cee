package pgmeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// doubtBatch is how many tags a transaction marks: thousands may share a layer.
const doubtBatch = 1000

// A tag that another transaction has locked is being checked, or dropped.
const doubtCachedTags = `
WITH RECURSIVE cached AS (
  SELECT r.tenant_id, r.id FROM repositories r
   WHERE r.tenant_id = $1 AND r.registry_id = $2 AND r.name = $3 AND r.state = 'active'
), up (digest) AS (
  SELECT $4::bytea
  UNION
  SELECT naming.manifest
    FROM cached
   CROSS JOIN LATERAL (
          SELECT b.manifest FROM manifest_blobs b
           WHERE b.tenant_id = cached.tenant_id AND b.repo_id = cached.id AND b.digest = $4 OFFSET 0) AS naming
  UNION
  SELECT listing.parent
    FROM up CROSS JOIN cached
   CROSS JOIN LATERAL (
          SELECT c.parent FROM manifest_children c
           WHERE c.tenant_id = cached.tenant_id AND c.repo_id = cached.id AND c.child = up.digest OFFSET 0) AS listing
), doubtful AS MATERIALIZED (
  SELECT leading_to.tenant_id, leading_to.repo_id, leading_to.name
    FROM up CROSS JOIN cached
   CROSS JOIN LATERAL (
          SELECT x.tenant_id, x.repo_id, x.name FROM cache_tags x
           WHERE x.tenant_id = cached.tenant_id AND x.repo_id = cached.id AND x.manifest = up.digest AND NOT x.doubted
          OFFSET 0
             FOR NO KEY UPDATE SKIP LOCKED) AS leading_to
   LIMIT $5
)
UPDATE cache_tags x SET doubted = true
  FROM doubtful d WHERE x.tenant_id = d.tenant_id AND x.repo_id = d.repo_id AND x.name = d.name`

// DoubtCachedTags implements meta.Cache.
func (s *Store) DoubtCachedTags(ctx context.Context, r meta.Repo, d oci.Digest) error {
	for {
		var marked int64
		err := s.write(ctx, r.Tenant, func(t *tx) error {
			t.queue(doubtCachedTags, r.Tenant, r.Registry, r.Name, d.Bytes(), doubtBatch).Exec(counted(&marked))
			return t.flush()
		})
		if err != nil || marked < doubtBatch {
			return err
		}
	}
}

const listCachedTags = `
SELECT page.name
  FROM registries g
  JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id AND r.name = $3 AND r.state = 'active'
 CROSS JOIN LATERAL (
        SELECT c.name FROM cache_tags c
         WHERE c.tenant_id = r.tenant_id AND c.repo_id = r.id AND c.name > $4 AND c.checked_at >= $5
         ORDER BY c.name LIMIT $6) AS page
 WHERE g.tenant_id = $1 AND g.id = $2 AND g.state = 'active' AND g.upstream_id IS NOT NULL
 ORDER BY page.name`

// ListCachedTags implements meta.Cache.
func (s *Store) ListCachedTags(ctx context.Context, r meta.Repo, since time.Time, p meta.Page) ([]string, error) {
	return collect(ctx, s, r.Tenant, scanName, listCachedTags, r.Tenant, r.Registry, r.Name, p.After, since, p.Size)
}
