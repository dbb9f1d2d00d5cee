-- Operators with names, and their tokens. The operator token of the configuration has no row.

-- +goose Up
CREATE TABLE operators (
  id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slug         text COLLATE "C" NOT NULL,
  display_name text        NOT NULL,
  disabled     boolean     NOT NULL,
  version      bigint      NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT operators_by_slug UNIQUE (slug)
);

CREATE TABLE operator_tokens (
  operator_id    bigint      NOT NULL REFERENCES operators (id) ON DELETE CASCADE,
  name           text COLLATE "C" NOT NULL,
  hash           bytea       NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the token
  description    text        NOT NULL,
  created_at     timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  last_used_at   timestamptz,                                     -- NULL = not yet
  last_used_from text,                                            -- the client's address
  PRIMARY KEY (operator_id, name)
);
CREATE INDEX operator_tokens_by_hash ON operator_tokens (hash);
