package sqlitemeta

import (
	"context"
	"time"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// doubtBatch is how many tags a transaction marks: thousands may share a layer.
const doubtBatch = 1000

const doubtCachedTags = `
UPDATE cache_tags SET doubted = 1
 WHERE (tenant_id, repo_id, name) IN (
       WITH RECURSIVE up (digest) AS (
            SELECT ?3
            UNION
            SELECT b.manifest FROM manifest_blobs b WHERE b.tenant_id = ?1 AND b.repo_id = ?2 AND b.digest = ?3
            UNION
            SELECT c.parent FROM up CROSS JOIN manifest_children c ON c.tenant_id = ?1 AND c.repo_id = ?2 AND c.child = up.digest)
       SELECT x.tenant_id, x.repo_id, x.name
         FROM up CROSS JOIN cache_tags x ON x.tenant_id = ?1 AND x.repo_id = ?2 AND x.manifest = up.digest
        WHERE x.doubted = 0
        LIMIT ?4)`

// DoubtCachedTags implements meta.Cache.
func (s *Store) DoubtCachedTags(ctx context.Context, r meta.Repo, d oci.Digest) error {
	for {
		var marked int64
		err := s.writeFor(ctx, r.Tenant, func(t *tx) error {
			repo, err := t.repository(r, cached)
			if fault.Is(err, fault.NameUnknown) {
				return nil
			}
			if err == nil {
				marked, err = t.exec(doubtCachedTags, r.Tenant, repo.id, d.Bytes(), doubtBatch)
			}
			return err
		})
		if err != nil || marked < doubtBatch {
			return err
		}
	}
}

const listCachedTags = `
SELECT x.name` + activeCache + `
  JOIN cache_tags x ON x.tenant_id = r.tenant_id AND x.repo_id = r.id AND x.name > ?4 AND x.checked_at >= ?5` + ofRepo + `
 ORDER BY x.name LIMIT ?6`

// ListCachedTags implements meta.Cache.
func (s *Store) ListCachedTags(ctx context.Context, r meta.Repo, since time.Time, p meta.Page) ([]string, error) {
	return collect(ctx, s, scanName, listCachedTags, r.Tenant, r.Registry, r.Name, p.After, since.UnixMicro(), p.Size)
}
