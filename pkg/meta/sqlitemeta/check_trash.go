package sqlitemeta

// What the trash holds stays, as what live manifests hold.
const checkTrashHeld = findingsOf + `
SELECT 'trashed manifest ' || hex(m.manifest) || ' of repository ' || m.repo_id || ' holds blob ' || hex(m.digest) || ', which is not linked there' AS detail,
       m.tenant_id AS tenant_id, m.repo_id AS repo_id, m.digest AS digest, NULL AS object
  FROM trashed_blobs m
  LEFT JOIN repo_blobs rb ON rb.tenant_id = m.tenant_id AND rb.repo_id = m.repo_id AND rb.digest = m.digest
 WHERE rb.digest IS NULL` + inPlace

// Phase B marks what only the trash names.
const checkTrashedLinks = findingsOf + `
SELECT 'blob ' || hex(rb.digest) || ' is linked in repository ' || rb.repo_id || ', named only by the trash, and counts as live' AS detail,
       rb.tenant_id AS tenant_id, rb.repo_id AS repo_id, rb.digest AS digest, NULL AS object
  FROM repo_blobs rb
 WHERE rb.keep_until IS NULL AND rb.trashed = 0
   AND EXISTS (SELECT 1 FROM trashed_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM manifest_blobs m WHERE m.tenant_id = rb.tenant_id AND m.repo_id = rb.repo_id AND m.digest = rb.digest)
   AND NOT EXISTS (SELECT 1 FROM repositories r WHERE r.tenant_id = rb.tenant_id AND r.id = rb.repo_id AND r.state = 'deleting')` + inPlace

// What was deleted ends at a time that the janitor finds.
const checkDeleted = findingsOf + `
SELECT 'repository ' || r.id || ' was deleted, and ends later than any can, or never' AS detail,
       r.tenant_id AS tenant_id, r.id AS repo_id, NULL AS digest, NULL AS object
  FROM repositories r
 WHERE r.state = 'deleted' AND coalesce(r.expire_at > ?1, 1)` + inPlace
