-- The audit log counts what pushes, deletions and pulls write apart from all else,
-- which is little: this index is for the little.

-- +goose Up
CREATE INDEX events_beside_content ON events (tenant_id, id)
 WHERE verb NOT IN ('blob.push', 'blob.mount', 'blob.delete', 'manifest.put', 'manifest.delete', 'tag.delete', 'repository.delete', 'cache.tag_rollback');

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('events', 'events_beside_content', '100000 100 1');
ANALYZE sqlite_schema;
