-- What each tenant used in each hour (docs/protocol.md, section 20). Rows outlive their tenant.

-- +goose Up
CREATE TABLE usage_hours (
  tenant_id     INTEGER NOT NULL,
  hour          INTEGER NOT NULL,            -- since 1970, in UTC
  pulls         INTEGER NOT NULL DEFAULT 0,
  pushes        INTEGER NOT NULL DEFAULT 0,
  egress        INTEGER NOT NULL DEFAULT 0,  -- bytes, as all that follow
  received      INTEGER NOT NULL DEFAULT 0,
  cache_saved   INTEGER NOT NULL DEFAULT 0,
  sharing_saved INTEGER NOT NULL DEFAULT 0,
  sampled       INTEGER NOT NULL DEFAULT 0,  -- 1: what follows was there at a moment of the hour
  stored        INTEGER NOT NULL DEFAULT 0,
  cached        INTEGER NOT NULL DEFAULT 0,
  trash         INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_hours_by_hour ON usage_hours (hour);

CREATE TABLE usage_recorders (               -- processes that count
  id      BLOB    PRIMARY KEY CHECK (length(id) = 16),
  number  INTEGER NOT NULL,                  -- of the last batch
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_sampling (                -- of the deployment
  one           INTEGER PRIMARY KEY CHECK (one = 1),
  hour          INTEGER NOT NULL,
  cursor_tenant INTEGER NOT NULL             -- the last tenant that was sampled in the hour
) STRICT;

-- As in 0002.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('usage_hours', 'usage_hours', '1000000 9600 1'),
  ('usage_hours', 'usage_hours_by_hour', '1000000 100'),
  ('usage_recorders', 'usage_recorders', '10 1');
ANALYZE sqlite_schema;
