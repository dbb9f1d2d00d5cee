-- A repository that was deleted can be restored until expire_at (docs/protocol.md,
-- section 12): state is 'deleted' until then, and 'deleting' while it is removed.

-- +goose Up
ALTER TABLE repositories ADD COLUMN deleted_at INTEGER;
ALTER TABLE repositories ADD COLUMN expire_at INTEGER;

-- A constraint is changed in the text of the table, as SQLite describes it: what is
-- stored stays as it is (https://www.sqlite.org/lang_altertable.html, section 7).
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (state IN (''active'', ''deleting''))', 'CHECK (state IN (''active'', ''deleted'', ''deleting''))')
 WHERE type = 'table' AND name = 'repositories';
PRAGMA writable_schema = RESET;

CREATE INDEX repositories_expiring ON repositories (expire_at) WHERE state = 'deleted';
CREATE INDEX repositories_deleted ON repositories (tenant_id, registry_id, name, id) WHERE state = 'deleted';
CREATE INDEX repositories_gone ON repositories (tenant_id, expire_at) WHERE state <> 'active' AND expire_at IS NOT NULL;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('repositories', 'repositories_expiring', '1000 2'),
  ('repositories', 'repositories_deleted', '1000 10 5 2 1'),
  ('repositories', 'repositories_gone', '1000 10 2');
ANALYZE sqlite_schema;
