package sqlitemeta

// What the registries of a tenant hold, counted from the tables. Tenants that are being counted
// have counts that are too low.
const (
	checkLinks = findingsOf + `
SELECT 'registry ' || x.registry_id || ' of tenant ' || x.tenant_id || ' counts ' || x.counted || ' links of blob ' || lower(hex(x.digest)) || ', of ' || x.links AS detail,
       x.tenant_id AS tenant_id, NULL AS repo_id, x.digest AS digest, NULL AS object
  FROM (SELECT l.tenant_id, l.registry_id, l.digest, sum(l.counted) AS counted, sum(l.links) AS links
          FROM (SELECT tenant_id, registry_id, digest, links AS counted, 0 AS links FROM registry_blobs
                UNION ALL
                SELECT r.tenant_id, r.registry_id, rb.digest, 0, 1
                  FROM repo_blobs rb
                  JOIN repositories r ON r.tenant_id = rb.tenant_id AND r.id = rb.repo_id
                  JOIN registries g ON g.tenant_id = r.tenant_id AND g.id = r.registry_id AND g.upstream_id IS NULL
                 WHERE NOT rb.trashed) AS l
         GROUP BY l.tenant_id, l.registry_id, l.digest) AS x
 WHERE x.counted <> x.links
   AND NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = x.tenant_id)` + inPlace

	checkHosted = findingsOf + `
SELECT 'registry ' || h.registry_id || ' of tenant ' || h.tenant_id || ' counts ' || h.bytes || ' bytes, ' || h.repositories || ' repositories, ' || h.manifests || ' manifests and ' ||
       h.tags || ' tags, of ' || (h.blobs + h.payloads) || ', ' || h.all_repositories || ', ' || h.all_manifests || ' and ' || h.all_tags AS detail,
       h.tenant_id AS tenant_id, NULL AS repo_id, NULL AS digest, NULL AS object
  FROM (SELECT u.*,
               (SELECT coalesce(sum(x.size), 0) FROM registry_blobs x WHERE x.tenant_id = u.tenant_id AND x.registry_id = u.registry_id) AS blobs,
               (SELECT coalesce(sum(m.size), 0) FROM repositories r JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
                 WHERE r.tenant_id = u.tenant_id AND r.registry_id = u.registry_id) AS payloads,
               (SELECT count(*) FROM repositories r WHERE r.tenant_id = u.tenant_id AND r.registry_id = u.registry_id) AS all_repositories,
               (SELECT count(*) FROM repositories r JOIN manifests m ON m.tenant_id = r.tenant_id AND m.repo_id = r.id
                 WHERE r.tenant_id = u.tenant_id AND r.registry_id = u.registry_id) AS all_manifests,
               (SELECT count(*) FROM repositories r JOIN tags g ON g.tenant_id = r.tenant_id AND g.repo_id = r.id
                 WHERE r.tenant_id = u.tenant_id AND r.registry_id = u.registry_id) AS all_tags
          FROM registry_usage u
         WHERE NOT EXISTS (SELECT 1 FROM usage_counting c WHERE c.tenant_id = u.tenant_id)) AS h
 WHERE (h.bytes, h.repositories, h.manifests, h.tags) <> (h.blobs + h.payloads, h.all_repositories, h.all_manifests, h.all_tags)` + inPlace
)
