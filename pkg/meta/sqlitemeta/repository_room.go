package sqlitemeta

import "github.com/berth-registry/berth/pkg/tenant"

// deletedBytes is what only repositories that were deleted stand for, and is not removed
// yet. It reads 20,000 links at most, and as many manifests and tags: what is beyond
// counts as live.
const deletedBytes = `
WITH due AS MATERIALIZED (
  SELECT r.id FROM repositories r WHERE r.tenant_id = ?1 AND r.state <> 'active' AND r.expire_at IS NOT NULL ORDER BY r.expire_at LIMIT 20000
), links AS MATERIALIZED (
  SELECT rb.digest FROM due CROSS JOIN repo_blobs rb ON rb.tenant_id = ?1 AND rb.repo_id = due.id LIMIT 20000
)
SELECT (SELECT 2048 * count(*) FROM due)
     + (SELECT coalesce(sum(counted.cost), 0)
          FROM (SELECT 1024 + m.size + 512 * coalesce(m.refs, 0) AS cost
                  FROM due CROSS JOIN manifests m ON m.tenant_id = ?1 AND m.repo_id = due.id LIMIT 20000) AS counted)
     + (SELECT 512 * count(*) FROM (SELECT 1 FROM due CROSS JOIN tags g ON g.tenant_id = ?1 AND g.repo_id = due.id LIMIT 20000) AS counted)
     + (SELECT coalesce(sum(b.size + 512), 0)
          FROM (SELECT DISTINCT links.digest FROM links) AS d
         CROSS JOIN blobs b ON b.tenant_id = ?1 AND b.digest = d.digest AND b.trash = 0 AND b.cached = 0
         WHERE NOT EXISTS (SELECT 1 FROM repo_blobs h
                CROSS JOIN repositories r ON r.tenant_id = h.tenant_id AND r.id = h.repo_id AND r.state = 'active'
                CROSS JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
                WHERE h.tenant_id = ?1 AND h.digest = d.digest AND h.trashed = 0))`

// deleted is how much of what a tenant is charged counts as trash, for a push, besides
// what is in the trash.
func (t *tx) deleted(id tenant.ID, u usage) (int64, error) {
	var bytes int64
	_, err := t.find(deletedBytes, []any{id}, &bytes)
	return min(bytes, u.limit-min(u.trash, u.limit)), err
}

// live is what counts for a push. It is counted only where that matters.
func (t *tx) live(id tenant.ID, u usage) (int64, error) {
	if u.limit == 0 || u.pushed <= u.limit {
		return u.pushed, nil
	}
	deleted, err := t.deleted(id, u)
	return u.pushed - deleted, err
}

// fits refuses what is live beyond the quota.
func (t *tx) fits(id tenant.ID, u usage) error {
	n, err := t.live(id, u)
	if err == nil && u.limit > 0 && n > u.limit {
		err = overQuota(n, u.limit)
	}
	return err
}
