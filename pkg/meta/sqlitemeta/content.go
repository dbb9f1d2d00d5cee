package sqlitemeta

import (
	"context"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
)

const countContent = `
WITH held AS MATERIALIZED (
  SELECT r.tenant_id, r.id FROM registries g CROSS JOIN repositories r ON r.tenant_id = g.tenant_id AND r.registry_id = g.id
   WHERE g.tenant_id = ?1 AND (?2 = 0 OR g.id = ?2) AND g.state = 'active' AND g.upstream_id IS NULL
     AND r.state = 'active' AND r.listed = 1
   LIMIT ?3
), links AS MATERIALIZED (
  SELECT b.digest FROM held CROSS JOIN repo_blobs b ON b.tenant_id = held.tenant_id AND b.repo_id = held.id AND b.trashed = 0 LIMIT ?3
)
SELECT (SELECT count(*) FROM held),
       (SELECT count(*) FROM (SELECT 1 FROM held CROSS JOIN manifests m ON m.tenant_id = held.tenant_id AND m.repo_id = held.id LIMIT ?3)),
       (SELECT count(*) FROM (SELECT 1 FROM held CROSS JOIN tags g ON g.tenant_id = held.tenant_id AND g.repo_id = held.id
                               WHERE g.manifest IS NOT NULL LIMIT ?3)),
       (SELECT coalesce(sum(b.size), 0) FROM (SELECT DISTINCT digest FROM links) d CROSS JOIN blobs b ON b.tenant_id = ?1 AND b.digest = d.digest),
       (SELECT count(*) FROM links)`

// CountContent implements meta.Registries.
func (s *Store) CountContent(ctx context.Context, t tenant.ID, r tenant.RegistryID, limit int) (meta.Content, error) {
	var c meta.Content
	var links int64
	_, err := s.find(ctx, countContent, []any{t, r, limit}, &c.Repositories, &c.Manifests, &c.Tags, &c.Bytes, &links)
	c.AtLeast = max(c.Repositories, c.Manifests, c.Tags, links) >= int64(limit)
	return c, err
}
