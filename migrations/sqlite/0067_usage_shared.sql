-- How much of what a tenant stores several of its repositories hold (docs/protocol.md, section 20).

-- +goose Up
ALTER TABLE usage_hours ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;  -- of stored, as measured last

CREATE TABLE usage_sharing (            -- what the last measurement of a tenant found
  tenant_id INTEGER PRIMARY KEY,
  shared    INTEGER NOT NULL
) STRICT;
CREATE TABLE usage_measuring (          -- of the deployment
  one           INTEGER PRIMARY KEY CHECK (one = 1),
  day           INTEGER NOT NULL,       -- since 1970, in UTC
  cursor_tenant INTEGER NOT NULL,       -- the tenant that is measured
  cursor_digest BLOB,                   -- the last of its blobs that was; NULL: all were
  shared        INTEGER NOT NULL        -- the sum up to there
) STRICT;
