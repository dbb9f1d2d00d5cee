-- Refresh tokens get tokens of the data port for an account, until they expire, are ended,
-- or the account's tokens are revoked. The signing keys that were made before keys_due are
-- replaced.

-- +goose Up
CREATE TABLE refresh_tokens (
  tenant_id      bigint      NOT NULL,
  account_id     bigint      NOT NULL,
  name           text COLLATE "C" NOT NULL,
  hash           bytea       NOT NULL CHECK (length(hash) = 32),  -- SHA-256 of the token
  key_name       text COLLATE "C" NOT NULL,                       -- that it was got with, and ends with; empty = a password
  seed           bytea       NOT NULL,                            -- of one that was got with a key: the same login gets the same token
  client_id      text COLLATE "C" NOT NULL,                       -- the client's name for itself
  created_at     timestamptz NOT NULL,
  created_from   text        NOT NULL,                            -- the client's address
  last_used_at   timestamptz NOT NULL,
  last_used_from text        NOT NULL,
  expires_at     timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, account_id, name),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_hash ON refresh_tokens (hash);
CREATE INDEX refresh_tokens_by_end  ON refresh_tokens (expires_at);

ALTER TABLE deployment ADD COLUMN keys_due timestamptz;  -- NULL = none was asked for
