-- Who put a hosted manifest first, which a promotion gate may ask. NULL: an older node, or it
-- is cached.

-- +goose Up
ALTER TABLE manifests ADD COLUMN pushed_by text;
