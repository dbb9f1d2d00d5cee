-- Operators with names, and their tokens. The operator token of the configuration has no row.

-- +goose Up
CREATE TABLE operators (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  slug         TEXT    NOT NULL,
  display_name TEXT    NOT NULL,
  disabled     INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  CONSTRAINT operators_by_slug UNIQUE (slug)
) STRICT;

CREATE TABLE operator_tokens (
  operator_id    INTEGER NOT NULL REFERENCES operators (id) ON DELETE CASCADE,
  name           TEXT    NOT NULL,
  hash           BLOB    NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the token
  description    TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER NOT NULL,
  last_used_at   INTEGER,                                     -- NULL = not yet
  last_used_from TEXT,                                        -- the client's address
  PRIMARY KEY (operator_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX operator_tokens_by_hash ON operator_tokens (hash);
