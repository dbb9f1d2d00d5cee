-- After another password for the same account, a cache registry is kept until
-- expire_at, deleting, for the cache registry that replaced it. Its repositories move
-- there one by one, when the upstream has answered under the new password.

-- +goose Up
ALTER TABLE registries ADD COLUMN kept_for INTEGER;
CREATE INDEX registries_kept ON registries (tenant_id, kept_for) WHERE kept_for IS NOT NULL;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('registries', 'registries_kept', '100 2 1');
ANALYZE sqlite_schema;
