-- Sessions of browsers at the admin API.

-- +goose Up
CREATE TABLE sessions (
  tenant_id      bigint      NOT NULL,                            -- 0 = of an operator
  account_id     bigint      NOT NULL,                            -- or the operator's; 0 = the operator token of the configuration
  name           text COLLATE "C" NOT NULL,
  hash           bytea       NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the secret
  key_name       text COLLATE "C" NOT NULL,                       -- of the key or token that it was made with, and ends with; empty = a password
  user_agent     text        NOT NULL,
  created_at     timestamptz NOT NULL,
  created_from   text        NOT NULL,                            -- the client's address
  last_used_at   timestamptz NOT NULL,
  last_used_from text        NOT NULL,
  ends_at        timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, account_id, name)
);
CREATE INDEX sessions_by_hash ON sessions (hash);
CREATE INDEX sessions_by_end  ON sessions (ends_at);
