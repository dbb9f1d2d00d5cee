-- How much of what a tenant stores several of its repositories hold (docs/protocol.md, section 20).

-- +goose Up
ALTER TABLE usage_hours ADD COLUMN shared bigint NOT NULL DEFAULT 0;  -- of stored, as measured last

CREATE TABLE usage_sharing (            -- what the last measurement of a tenant found
  tenant_id bigint PRIMARY KEY,
  shared    bigint NOT NULL
);
CREATE TABLE usage_measuring (          -- of the deployment; locked by each step of a measurement
  one           integer PRIMARY KEY CHECK (one = 1),
  day           bigint NOT NULL,        -- since 1970, in UTC
  cursor_tenant bigint NOT NULL,        -- the tenant that is measured
  cursor_digest bytea,                  -- the last of its blobs that was; NULL: all were
  shared        bigint NOT NULL         -- the sum up to there
);
