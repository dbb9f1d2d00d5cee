-- What each tenant used in each hour (docs/protocol.md, section 20). Rows outlive their tenant.

-- +goose Up
CREATE TABLE usage_hours (
  tenant_id     bigint  NOT NULL,
  hour          bigint  NOT NULL,            -- since 1970, in UTC
  pulls         bigint  NOT NULL DEFAULT 0,
  pushes        bigint  NOT NULL DEFAULT 0,
  egress        bigint  NOT NULL DEFAULT 0,  -- bytes, as all that follow
  received      bigint  NOT NULL DEFAULT 0,
  cache_saved   bigint  NOT NULL DEFAULT 0,
  sharing_saved bigint  NOT NULL DEFAULT 0,
  sampled       integer NOT NULL DEFAULT 0,  -- 1: what follows was there at a moment of the hour
  stored        bigint  NOT NULL DEFAULT 0,
  cached        bigint  NOT NULL DEFAULT 0,
  trash         bigint  NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, hour)
) WITH (fillfactor = 80);
CREATE INDEX usage_hours_by_hour ON usage_hours (hour);

CREATE TABLE usage_recorders (               -- processes that count
  id      uuid        PRIMARY KEY,
  number  bigint      NOT NULL,              -- of the last batch
  seen_at timestamptz NOT NULL
);
CREATE TABLE usage_sampling (                -- of the deployment; locked by each step of a sample
  one           integer PRIMARY KEY CHECK (one = 1),
  hour          bigint  NOT NULL,
  cursor_tenant bigint  NOT NULL             -- the last tenant that was sampled in the hour
);
