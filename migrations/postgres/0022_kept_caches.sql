-- After another password for the same account, a cache registry is kept until
-- expire_at, deleting, for the cache registry that replaced it. Its repositories move
-- there one by one, when the upstream has answered under the new password. A node of
-- the version before gives up such a cache with the others when it is due.

-- +goose Up
ALTER TABLE registries ADD COLUMN IF NOT EXISTS kept_for bigint;
CREATE INDEX IF NOT EXISTS registries_kept ON registries (tenant_id, kept_for) WHERE kept_for IS NOT NULL;
