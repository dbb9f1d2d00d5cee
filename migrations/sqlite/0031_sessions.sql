-- Sessions of browsers at the admin API.

-- +goose Up
CREATE TABLE sessions (
  tenant_id      INTEGER NOT NULL,                            -- 0 = of an operator
  account_id     INTEGER NOT NULL,                            -- or the operator's; 0 = the operator token of the configuration
  name           TEXT    NOT NULL,
  hash           BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the secret
  key_name       TEXT    NOT NULL,                            -- of the key or token that it was made with, and ends with; empty = a password
  user_agent     TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  created_from   TEXT    NOT NULL,                            -- the client's address
  last_used_at   INTEGER NOT NULL,
  last_used_from TEXT    NOT NULL,
  ends_at        INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, account_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_hash ON sessions (hash);
CREATE INDEX sessions_by_end  ON sessions (ends_at);
