package sqlitemeta

// The charge of a tenant's rows (see meta.BlobCost), and the cached part of it and
// of its bytes.
const chargedRows = `
SELECT tenant_id, cached AS is_cached, trash AS is_trash, 512 * count(*) AS cost, sum(size) AS bytes FROM blobs GROUP BY tenant_id, cached, trash
UNION ALL
SELECT m.tenant_id, g.upstream_id IS NOT NULL, 0, 1024 + m.size + 512 * coalesce(m.refs, 0), 0
  FROM manifests m
  JOIN repositories r ON r.tenant_id = m.tenant_id AND r.id = m.repo_id
  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
UNION ALL
SELECT r.tenant_id, g.upstream_id IS NOT NULL, 0, 2048, 0
  FROM repositories r JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
UNION ALL
SELECT tenant_id, 0, 1, sum(1024 + size + 512 * refs), 0 FROM trashed_manifests GROUP BY tenant_id
UNION ALL
SELECT tenant_id, 0, 0, 512 * count(*), 0 FROM tags GROUP BY tenant_id
UNION ALL
SELECT tenant_id, 1, 0, 512 * count(*), 0 FROM cache_tags GROUP BY tenant_id
UNION ALL
SELECT tenant_id, 0, 0, 512 * count(*), 0 FROM name_claims GROUP BY tenant_id`

const checkCharges = findingsOf + `
SELECT 'tenant ' || u.tenant_id || ' is charged ' || u.overhead || ' bytes for rows that cost ' || coalesce(c.cost, 0) ||
       ', and ' || u.cached || ' of ' || coalesce(c.cached, 0) || ' bytes count as cached, ' || u.trash || ' of ' || coalesce(c.trash, 0) || ' as trash' AS detail,
       u.tenant_id AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM usage u
  LEFT JOIN (SELECT tenant_id, sum(cost) AS cost, sum((cost + bytes) * is_cached) AS cached, sum((cost + bytes) * is_trash) AS trash FROM (` + chargedRows + `) GROUP BY tenant_id) c
       ON c.tenant_id = u.tenant_id
 WHERE u.overhead <> coalesce(c.cost, 0) OR u.cached <> coalesce(c.cached, 0) OR u.trash <> coalesce(c.trash, 0)` + inPlace

// Blobs that a hosted repository links count as pushed, or as trash if a delete
// released all these links. Unlinked blobs are collected, and may count as any.
const checkFlags = findingsOf + `
SELECT 'blob ' || hex(b.digest) || ' of tenant ' || b.tenant_id || ' counts as ' ||
       CASE WHEN b.cached > l.cached THEN 'cached, and is hosted' WHEN l.cached > b.cached THEN 'hosted, and is only cached'
            WHEN b.trash = 1 THEN 'trash, and is not only that' ELSE 'live, and is only trash' END AS detail,
       b.tenant_id AS tenant_id, NULL AS repo_id, b.digest AS digest, NULL AS object
  FROM blobs b
  JOIN (SELECT rb.tenant_id, rb.digest, min(g.upstream_id IS NOT NULL) AS cached, coalesce(min(CASE WHEN g.upstream_id IS NULL THEN rb.trashed END), 0) AS trash
          FROM repo_blobs rb
          JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id
          JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id
         GROUP BY rb.tenant_id, rb.digest) l ON l.tenant_id = b.tenant_id AND l.digest = b.digest
 WHERE b.cached <> l.cached OR b.trash <> l.trash` + inPlace
