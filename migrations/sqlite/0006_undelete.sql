-- A tenant or registry that was deleted can be taken back until expire_at. Then
-- the janitor sets that to NULL and removes the content: what is deleting
-- without expire_at never comes back, as all that the versions before deleted.

-- +goose Up

ALTER TABLE tenants ADD COLUMN expire_at INTEGER;
ALTER TABLE tenants ADD COLUMN was_suspended INTEGER NOT NULL DEFAULT 0 CHECK (was_suspended IN (0, 1));
ALTER TABLE registries ADD COLUMN deleted_at INTEGER;
ALTER TABLE registries ADD COLUMN expire_at INTEGER;
-- Set while the domain's registry or tenant is deleted: verify it again when that
-- comes back, unless somebody else verified the host meanwhile.
ALTER TABLE domains ADD COLUMN was_verified INTEGER NOT NULL DEFAULT 0 CHECK (was_verified IN (0, 1));

-- All who ever had a slug, for the list that shows deleted tenants too.
CREATE INDEX tenants_holders ON tenants (slug, id);

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('tenants', 'tenants_holders', '2000 2 1');
ANALYZE sqlite_schema;
