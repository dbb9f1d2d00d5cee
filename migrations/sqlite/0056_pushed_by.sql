-- Who put a hosted manifest first, which a promotion gate may ask. NULL: an older version, or it
-- is cached.

-- +goose Up
ALTER TABLE manifests ADD COLUMN pushed_by TEXT;
