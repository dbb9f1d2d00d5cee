-- Whether the repository held a manifest when an index that names it was put, so
-- that fsck knows which of those that are missing must be there. NULL: the index
-- was put by a node of the version before, or before this was written down; then
-- the registry's setting says it.

-- +goose Up
ALTER TABLE manifest_children ADD COLUMN held boolean;
